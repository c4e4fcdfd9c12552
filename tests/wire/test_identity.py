"""Who an agent is: keys and certificates that fit each other, and what is said where they do not."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edgekit.broker.certificates import make_site
from edgekit.errors import BadInput
from edgekit.wire.identity import HASH, Identity, common_name, outdated, read_certificate, read_key
from edgekit.wire.private_file import write_private


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """The folders of two agents of a site."""
    site = tmp_path_factory.mktemp("site")
    make_site(site, ["cam-1", "cam-2"], hosts=["localhost"])
    return site / "agents"


def load(agents, id="cam-1", certificate="cam-1", key="cam-1") -> Identity:
    return Identity.load(id, agents / certificate / "certificate.pem", agents / key / "key.pem")


def test_a_signature_is_of_its_key_and_message_alone():
    one, two = Identity.make("cam-1"), Identity.make("cam-1")
    signature = one.sign(b"hello")
    one.key.public_key().verify(signature, b"hello", HASH)
    with pytest.raises(InvalidSignature):
        one.key.public_key().verify(signature, b"hallo", HASH)
    with pytest.raises(InvalidSignature):
        two.key.public_key().verify(signature, b"hello", HASH)


def test_an_agent_is_known_by_its_certificate_or_else_its_key(agents):
    bare, certified = Identity.make("cam-1"), load(agents)
    assert bare.certificate is None
    assert serialization.load_der_public_key(bare.public) == bare.key.public_key()
    assert certified.certificate is not None
    assert certified.public == certified.certificate.public_bytes(serialization.Encoding.DER)
    assert common_name(certified.certificate) == "cam-1"


def test_a_key_that_is_kept_is_the_same_next_time(tmp_path):
    first, second = (Identity.kept("cam-1", tmp_path / "key.pem") for _ in range(2))
    assert first.public == second.public
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("id", ["", "-cam", "cam 1", "cam/1", "cam+", "#", "x" * 65, "cam\n"])
def test_an_id_is_one_level_of_a_topic(id):
    with pytest.raises(BadInput, match="cannot be an id"):
        Identity.make(id)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"id": "cam-2"}, "is of 'cam-1', not of 'cam-2'"),
        ({"key": "cam-2"}, "is for another key"),
        ({"certificate": "cam-3"}, "no such certificate"),
        ({"key": "cam-3"}, "no such file"),
    ],
)
def test_what_does_not_fit_is_refused(agents, given, said):
    with pytest.raises(BadInput, match=said):
        load(agents, **given)


def test_what_is_no_key_or_no_certificate_is_refused(tmp_path):
    (tmp_path / "certificate.pem").write_text("nothing")
    with pytest.raises(BadInput, match="no certificate in PEM form"):
        read_certificate(tmp_path / "certificate.pem")
    write_private(tmp_path / "key.pem", b"nothing")
    with pytest.raises(BadInput, match="no private key in PEM form"):
        read_key(tmp_path / "key.pem")


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)]
)
def test_keys_of_other_kinds_are_refused(tmp_path, key):
    write_private(
        tmp_path / "key.pem",
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    with pytest.raises(BadInput, match="not of the kind ECDSA P-256"):
        read_key(tmp_path / "key.pem")


def test_a_key_that_others_can_read_is_refused(tmp_path):
    Identity.kept("cam-1", tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o640)
    with pytest.raises(BadInput, match=r"others on this machine can read .* chmod 600"):
        Identity.kept("cam-1", tmp_path / "key.pem")


def test_a_date_that_does_not_fit_names_the_clock(agents):
    certificate = load(agents).certificate
    assert certificate is not None
    assert outdated(certificate) == ""
    early = outdated(certificate, datetime(1970, 1, 1, tzinfo=timezone.utc))
    assert "valid from 2020-01-01" in early
    assert "clock of this machine says 1970-01-01 00:00 UTC" in early
    assert outdated(certificate, datetime(2999, 1, 1, tzinfo=timezone.utc))
