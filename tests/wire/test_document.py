"""Signed documents: what was sealed opens, and nothing else does, each for its own reason."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.broker.certificates import make_site
from edgekit.wire import document
from edgekit.wire.credentials import Credentials
from edgekit.wire.document import LARGEST, LAST, WILL, BadDocument, Trust, seal
from edgekit.wire.identity import Identity, read_certificate, read_key

ME = Identity.make("cam-1")
BODY = {"round": 3, "name": "Zoë", "nested": [{"a": None}, 1.5]}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The agents cam-1 and cam-2 of a site, and cam-1 of another: credentials by name."""
    found = {}
    for name, agents in (("ours", ["cam-1", "cam-2"]), ("theirs", ["cam-1"])):
        folder = tmp_path_factory.mktemp(name)
        make_site(folder, agents, hosts=["localhost"])
        for id in agents:
            found[f"{name} {id}"] = Credentials.read(folder / "agents" / id)
    return found


def sealed(identity=ME, run="demo", name="state", body=None, number=1) -> bytes:
    return seal(identity, run, name, BODY if body is None else body, number)


def changed(payload: bytes, **parts) -> bytes:
    """The document with some parts of its envelope changed, still in canonical form."""
    envelope = json.loads(payload) | parts
    known = {key: value for key, value in envelope.items() if value is not None}
    return json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def refused(payload: bytes, said: str, trust: Trust | None = None, sender="cam-1", name="state") -> None:
    with pytest.raises(BadDocument, match=said):
        (trust or Trust("demo")).open(payload, sender, name)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_bits_that_say_nothing_are_refused():
    """Of the last characters of base64 only some bits count: another text would be the same bytes."""
    key = json.loads(sealed())["key"]
    stem, last = key.rstrip("=")[:-1], key.rstrip("=")[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = stem + alphabet[alphabet.index(last) ^ 1] + "=" * (len(key) - len(key.rstrip("=")))
    assert key.endswith("=")
    assert base64.b64decode(other) == base64.b64decode(key)
    refused(changed(sealed(), key=other), "not base64")


def test_what_is_sealed_opens():
    assert Trust("demo").open(sealed(), "cam-1", "state") == BODY


keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False)
    | keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(keys, values, max_size=4), st.integers(0, LAST))
def test_any_json_object_comes_back_as_it_was(body, number):
    assert Trust("demo").open(sealed(body=body, number=number), "cam-1", "state") == body


def test_a_document_is_of_one_run_sender_and_name():
    refused(sealed(), r"another run \('demo'\)", Trust("other"))
    refused(sealed(), r"another sender \('cam-1'\)", sender="cam-2")
    refused(sealed(), r"another name \('state'\)", name="spec")


@pytest.mark.parametrize(
    "parts",
    [
        {"number": 2},
        {"body": text(b'{"round":4}')},
        {"signature": text(b"0" * 70)},
        {"signature": text(b"")},
        {"key": text(Identity.make("cam-1").public)},
    ],
)
def test_a_change_breaks_the_signature(parts):
    refused(changed(sealed(), **parts), "its signature is wrong")


def test_renaming_the_envelope_breaks_the_signature():
    refused(changed(sealed(), run="demo2"), "its signature is wrong", Trust("demo2"))
    refused(changed(sealed(), sender="cam-2"), "its signature is wrong", sender="cam-2")
    refused(changed(sealed(), name="spec"), "its signature is wrong", name="spec")


def test_an_older_number_never_replaces_a_newer():
    trust = Trust("demo")
    old, new = sealed(number=1), sealed(number=2)
    trust.open(new, "cam-1", "state")
    refused(old, "its number 1 is older than 2", trust)
    assert trust.open(new, "cam-1", "state") == BODY  # a broker repeats what it keeps
    assert trust.newest("cam-1", "state") == 2
    assert trust.open(sealed(name="spec", number=1), "cam-1", "spec") == BODY  # of each name its own


def test_a_will_may_come_at_any_time_and_forgets_nothing():
    trust = Trust("demo")
    will = sealed(body={"state": "lost"}, number=WILL)
    trust.open(sealed(number=5), "cam-1", "state")
    assert trust.open(will, "cam-1", "state") == {"state": "lost"}
    refused(sealed(number=4), "older than 5", trust)


def test_a_document_that_is_refused_changes_nothing():
    trust = Trust("demo")
    refused(changed(sealed(number=9), body=text(b"{}")), "signature", trust)
    assert trust.newest("cam-1", "state") == WILL
    assert trust.open(sealed(number=1), "cam-1", "state") == BODY


def test_without_a_site_the_first_key_of_an_id_stays_its_key():
    trust = Trust("demo")
    trust.open(sealed(), "cam-1", "state")
    refused(sealed(Identity.make("cam-1"), number=2), "its key is not the one this id had before", trust)
    other = Identity.make("cam-2")
    assert trust.open(sealed(other), "cam-2", "state") == BODY


def test_with_a_site_its_certificates_count(site):
    ours, theirs = site["ours cam-1"], site["theirs cam-1"]
    trust = Trust("demo", ours.authority())
    assert trust.open(sealed(ours.identity()), "cam-1", "state") == BODY
    assert trust.open(sealed(site["ours cam-2"].identity()), "cam-2", "state") == BODY
    refused(sealed(theirs.identity(), number=2), "no certificate of this site", trust)
    refused(sealed(ME, number=2), "no certificate of this site", trust)


def test_with_a_site_no_one_speaks_for_another(site):
    ours = site["ours cam-1"]
    impostor = Identity("cam-1", site["ours cam-2"].identity().key, site["ours cam-2"].identity().certificate)
    trust = Trust("demo", ours.authority())
    refused(sealed(impostor), "signed with the certificate of 'cam-2'", trust)
    stolen = Identity("cam-1", Identity.make("cam-1").key, ours.identity().certificate)
    refused(sealed(stolen), "its signature is wrong", trust)


def test_the_broker_does_not_speak_for_an_agent(site):
    ours = site["ours cam-1"]
    assert ours.ca is not None
    broker = ours.ca.parents[2] / "broker"
    identity = Identity("cam-1", read_key(broker / "key.pem"), read_certificate(broker / "certificate.pem"))
    refused(
        sealed(identity), "signed with the certificate of 'edgekit broker'", Trust("demo", ours.authority())
    )


def test_an_agent_without_a_site_says_who_should_join(site):
    refused(sealed(site["ours cam-1"].identity()), "join this agent to the same site")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "not canonical JSON"),
        (b"\xff\xfe", "not canonical JSON"),
        (b"nonsense", "not canonical JSON"),
        (b"{ }", "not canonical JSON"),
        (b'{"a":1,"a":2}', "not canonical JSON"),
        (b'{"a":NaN}', "not canonical JSON"),
        (b'{"a":1e999}', "not canonical JSON"),
        (b'{"a":"\\ud800"}', "not canonical JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not canonical JSON"),
        (b"9" * 10_000, "not canonical JSON"),
        (b"[]", "no signed document"),
        (b"{}", "no signed document"),
        (changed(sealed(), number=None), "no signed document"),
        (changed(sealed(), number=True), "no signed document"),
        (changed(sealed(), number=1.0), "no signed document"),
        (changed(sealed(), more=1), "no signed document"),
        (changed(sealed(), key=[1]), "no signed document"),
        (changed(sealed(), number=-1), "number is out of range"),
        (changed(sealed(), number=2**63), "number is out of range"),
        (changed(sealed(), body="%%%"), "not base64"),
        (changed(sealed(), body="é"), "not base64"),
        (changed(sealed(), key=text(b"junk")), "no P-256 public key"),
        (b"x" * (LARGEST + 1), r"1,048,577 bytes; at most 1,048,576"),
    ],
)
def test_what_is_malformed_is_refused_for_what_it_is(payload, said):
    refused(payload, said)


def test_size_and_form_are_checked_before_anything_is_decoded(monkeypatch):
    def never(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(document.json, "loads", never)
    refused(b"[" * (LARGEST + 1), "at most")
    monkeypatch.undo()
    monkeypatch.setattr(document, "load_der_public_key", never)
    refused(changed(sealed(), more=1), "no signed document")
    monkeypatch.undo()
    forged = changed(sealed(), signature=text(b"0" * 70))
    monkeypatch.setattr(document, "_body", never)
    refused(forged, "signature is wrong")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else_happens(payload):
    refused(payload, "document 'state' of 'cam-1'")


@settings(max_examples=200, deadline=None)
@given(st.integers(0), st.integers(1, 255))
def test_a_damaged_byte_is_refused(place, flip):
    payload = bytearray(_ONCE)
    payload[place % len(payload)] ^= flip
    refused(bytes(payload), "document 'state' of 'cam-1'")


_ONCE = sealed()


def deep(levels: int) -> dict:
    return {} if levels == 1 else {"a": deep(levels - 1)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"run": "a/b"}, "no document can have run 'a/b'"),
        ({"name": "#"}, "no document can have"),
        ({"number": -1}, "and number -1"),
        ({"number": LAST + 1}, "no document can have"),
        ({"body": {"a": float("nan")}}, "JSON"),
        ({"body": [1]}, "its body is no JSON object"),
        ({"body": deep(33)}, "deeper than 32 levels"),
        ({"body": {"a": "x" * LARGEST}}, "at most 1,048,576 are allowed"),
    ],
)
def test_what_no_one_would_open_is_not_sealed(given, said):
    with pytest.raises(ValueError, match=said):
        sealed(**given)


def test_a_body_as_deep_as_allowed_opens():
    assert Trust("demo").open(sealed(body=deep(32)), "cam-1", "state") == deep(32)
