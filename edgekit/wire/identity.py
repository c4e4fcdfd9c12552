"""Who an agent is: its id, the key that proves it, and the certificate that ties the two.

Keys are ECDSA on P-256, because TLS of every make takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgekit.errors import BadInput
from edgekit.wire.private_file import read_private, write_private
from edgekit.wire.transport import check_id

HASH = ec.ECDSA(hashes.SHA256())
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)  # what bad bytes raise


@dataclass(frozen=True)
class Identity:
    """An agent's id and private key; the certificate is absent where no one asks for it, as on loopback."""

    id: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate | None = None

    @classmethod
    def make(cls, id: str) -> Identity:
        """A fresh key without a certificate."""
        return cls(check_id(id), ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def kept(cls, id: str, key: Path) -> Identity:
        """That of a key file, written where there is none, so that an agent that comes back is known again."""
        made = cls.make(id)
        if key.exists():
            return cls(id, read_key(key))
        write_private(key, key_pem(made.key))
        return made

    @classmethod
    def load(cls, id: str, certificate: Path, key: Path) -> Identity:
        """The identity of two PEM files; BadInput where they do not fit each other, the id, or the date."""
        made = cls(check_id(id), read_key(key), read_certificate(certificate))
        made.check(str(certificate))
        return made

    @cached_property
    def public(self) -> bytes:
        """What others know this agent by: its certificate, or else its public key, as DER."""
        if self.certificate is not None:
            return self.certificate.public_bytes(serialization.Encoding.DER)
        return public_bytes(self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, as DER."""
        return self.key.sign(message, HASH)

    def check(self, source: str) -> None:
        """BadInput where the certificate is for another key or id, or not valid today."""
        if self.certificate is None:
            return
        if public_key(self.certificate.public_key()) != self.key.public_key():
            raise BadInput(f"{source}: this certificate is for another key. Copy both from the same folder.")
        if common_name(self.certificate) != self.id:
            raise BadInput(
                f"{source}: this certificate is of '{common_name(self.certificate)}', not of '{self.id}'. Use "
                "the id that the site gave, or ask for a certificate of your own."
            )
        if ended := outdated(self.certificate):
            raise BadInput(f"{source}: {ended}")


def read_certificate(path: Path) -> x509.Certificate:
    """The certificate of a PEM file; BadInput for anything else."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        raise BadInput(
            f"{path}: there is no such certificate. Copy the whole folder, or join anew."
        ) from None
    except UNREADABLE as error:
        raise BadInput(f"{path}: this is no certificate in PEM form. Copy it anew.") from error


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private P-256 key of a PEM file that no one else can read; BadInput for anything else."""
    content = read_private(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except UNREADABLE as error:
        raise BadInput(
            f"{path}: this is no private key in PEM form, or it has a password. Copy it anew."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadInput(
            f"{path}: this key is not of the kind ECDSA P-256. Make one with: edgekit broker certs"
        )
    return key


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, without a password: devices start unattended."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_key(key: object) -> ec.EllipticCurvePublicKey:
    """The key as it is; ValueError unless it is one on P-256."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("the key is not of the kind ECDSA P-256")


def common_name(certificate: x509.Certificate) -> str:
    """The one common name of a certificate, or "" where it has none or several."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def outdated(certificate: x509.Certificate, now: datetime | None = None) -> str:
    """A sentence where a certificate is not valid now, or "": it names the clock, which is the likelier fault."""
    now = now or datetime.now(timezone.utc)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if first <= now <= last:
        return ""
    return (
        f"the certificate of '{common_name(certificate)}' is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, and "
        f"{clock(now)}"
    )


def clock(now: datetime | None = None) -> str:
    """What to say where a date does not fit."""
    return f"the clock of this machine says {now or datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC: check it."
