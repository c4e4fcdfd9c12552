"""Documents come from others: what fits is read as it was written, and anything else is a BadDocument."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.coordinator.documents import FORMAT, Member, RosterDocument, Spec, State
from edgekit.coordinator.patience import Deadlines
from edgekit.coordinator.supervisor import Offer
from edgekit.wire.document import BadDocument
from tests.coordinator.papers import FEW, JSON, rosters, specs, states

SPEC = Spec(
    "run",
    {"model": {"mlp": {"width": 8}}},
    seed=3,
    agents=4,
    min_agents=2,
    wait=60.0,
    schema=7,
    sources={"net.py:Net": "ab" * 32},
    deadlines=Deadlines(k=3.0, least=0.5, most=30.0, quorum=0.4),
    snapshot_every=5,
)
ROSTER = RosterDocument(
    8193, 12, (Member(0, "cam-0", 11), Member(2, "cam-2", 22, joined=True)), 8, {"histograms": [[1.0], [2.0]]}
)
STATE = State("training", 11, 2, 40, 8193, (30, 40), 7, {"histograms": [1.0, 2.5]}, reason="none", refuses=12)
OFFER = Offer("run-1.ab", "run-1", 4)
ALL = [SPEC, ROSTER, STATE, OFFER]
KINDS = [type(document) for document in ALL]


def travelled(body):
    return json.loads(json.dumps(body))


@pytest.mark.parametrize("document", ALL, ids=lambda document: type(document).__name__)
def test_what_is_written_is_read(document):
    assert type(document).of(travelled(document.body())) == document


@FEW
@given(specs(), states(), st.data())
def test_all_that_convening_writes_is_read(spec, found, data):
    assert Spec.of(travelled(spec.body())) == spec
    for state in found.values():
        assert State.of(travelled(state.body())) == state
    roster = data.draw(rosters(spec))
    assert RosterDocument.of(travelled(roster.body())) == roster


@FEW
@given(st.sampled_from(KINDS), st.dictionaries(st.text(max_size=10), JSON, max_size=6))
def test_any_json_is_a_document_or_a_bad_one(kind, body):
    with pytest.raises(BadDocument) as raised:
        kind.of(body)
    assert one_line(raised.value)


@FEW
@given(st.sampled_from(ALL), st.data())
def test_any_value_in_any_place_is_read_or_refused(document, data):
    """One field, at any depth, is exchanged for JSON of any kind, or is missing."""
    body = travelled(document.body())
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        if data.draw(st.booleans()):
            place[key] = data.draw(JSON)
        else:
            del place[key]
        break
    try:
        found = type(document).of(body)
    except BadDocument:
        return
    assert type(found).of(travelled(found.body())) == found


def one_line(bad: BadDocument) -> bool:
    return "\n" not in str(bad) and len(str(bad)) < 250


BAD = [
    (SPEC, {"format": FORMAT + 1}, "Install the same version"),
    (SPEC, {"name": "../x"}, "name cannot be a name"),
    (SPEC, {"agents": 0}, "agents is no whole number from 1"),
    (SPEC, {"agents": 5000}, "agents"),
    (SPEC, {"agents": True}, "agents"),
    (SPEC, {"min_agents": 2.0}, "min_agents"),
    (SPEC, {"wait": -1}, "wait is no number from 0"),
    (SPEC, {"wait": 10**400}, "wait is no number from 0"),
    (SPEC, {"values": []}, "values is no mapping"),
    (SPEC, {"sources": {"a": 1}}, "is no text"),
    (SPEC, {"deadlines": {"k": 1, "least": 2, "most": 1, "quorum": 0.5}}, "deadline"),
    (SPEC, {"deadlines": {}}, "k is no number"),
    (SPEC, {"snapshot_every": 0}, "snapshot_every"),
    (ROSTER, {"epoch": 0}, "epoch"),
    (ROSTER, {"epoch": 1 << 32}, "epoch"),
    (ROSTER, {"members": [[0, "a", 1, False], [0, "b", 1, False]]}, "twice"),
    (ROSTER, {"members": [[0, "a", 1, False], [1, "a", 1, False]]}, "twice"),
    (ROSTER, {"members": [[0, "a", 1]]}, "is not"),
    (ROSTER, {"members": [[0, "a", 1, 1]]}, "is not"),
    (ROSTER, {"members": [[0, "a b", 1, True]]}, "id cannot be one"),
    (ROSTER, {"members": [[-1, "a", 1, True]]}, "no whole number"),
    (ROSTER, {"members": "ab"}, "no list"),
    (ROSTER, {"facts": {"histograms": [[1.0]]}}, "not one for each member"),
    (ROSTER, {"facts": {"histograms": [[1.0], ["x"]]}}, "no list of numbers"),
    (ROSTER, {"facts": {"histograms": [[1.0], [10**400]]}}, "no list of numbers"),
    (ROSTER, {"facts": {"histograms": [[1.0], [1.0, 2.0]]}}, "same length"),
    (ROSTER, {"resume": -1}, "resume"),
    (STATE, {"status": "asleep"}, "'asleep' is unknown"),
    (STATE, {"status": 3}, "no text"),
    (STATE, {"nonce": "x"}, "nonce"),
    (STATE, {"number": -1}, "number"),
    (STATE, {"snapshots": list(range(17))}, "at most 16"),
    (STATE, {"snapshots": [1.5]}, "no whole number"),
    (STATE, {"facts": {"histograms": [True]}}, "no list of numbers"),
    (STATE, {"reason": None}, "no text"),
    (OFFER, {"run": "a/b"}, "no names"),
    (OFFER, {"agents": 0}, "agents"),
    (OFFER, {"agents": False}, "agents"),
    (OFFER, {"role": ""}, "no names"),
]


@pytest.mark.parametrize(("document", "change", "says"), BAD)
def test_each_field_is_checked(document, change, says):
    with pytest.raises(BadDocument, match=says):
        type(document).of({**travelled(document.body()), **change})


def test_a_long_reason_is_cut():
    assert len(State.of(travelled(replace(STATE, reason="x" * 10_000).body())).reason) == 500


def test_the_members_of_a_roster():
    assert ROSTER.ids == ("cam-0", "cam-2")
    assert ROSTER.member("cam-2").number == 2
    assert ROSTER.member("cam-1") is None
