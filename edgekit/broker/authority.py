"""A site's private authority: it signs one certificate for the broker, and one for each agent.

Certificates are valid from 2020 on, since devices without a battery wake with an old clock, and for twenty years, since
no one visits them to renew. A broker's cannot stand for an agent, nor an agent's for a broker.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgekit.errors import BadInput
from edgekit.wire.identity import clock, key_pem, read_certificate, read_key

FIRST_DAY: Final = datetime(2020, 1, 1, tzinfo=timezone.utc)
LIFE: Final = timedelta(days=7305)  # twenty years
BROKER: Final = "edgekit broker"  # has a space, so that it is no id of an agent


@dataclass(frozen=True)
class Authority:
    """The certificate that all of a site are known by, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls) -> Authority:
        """A new one, with a name of its own, so that no one takes one site's for another's."""
        now = datetime.now(timezone.utc)
        if now < FIRST_DAY:
            raise BadInput(f"broker certs: certificates cannot be made in the past; {clock(now)}")
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"edgekit site {secrets.token_hex(4)}")
        started = _start(name, name, key.public_key(), now + LIFE)
        extended = _extended(
            started,
            key.public_key(),
            x509.BasicConstraints(ca=True, path_length=0),
            _usage(signs_others=True),
        )
        return cls(extended.sign(key, hashes.SHA256()), key)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Authority:
        """That of two PEM files."""
        if not key.exists():
            raise BadInput(
                f"{key}: the authority's key is not here, and nothing can be signed without it. Put it back."
            )
        made = cls(read_certificate(certificate), read_key(key))
        if made.certificate.public_key() != made.key.public_key():
            raise BadInput(
                f"{key}: this is not the key of {certificate}. Put back the two that were made together."
            )
        return made

    def broker(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Certificate and key, as PEM, for a broker that is reached by these host names and addresses."""
        return self._issue(BROKER, ExtendedKeyUsageOID.SERVER_AUTH, names)

    def agent(self, id: str) -> tuple[bytes, bytes]:
        """Certificate and key, as PEM, of an agent."""
        return self._issue(id, ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def _issue(self, name: str, use: x509.ObjectIdentifier, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        last = min(datetime.now(timezone.utc) + LIFE, self.certificate.not_valid_after_utc)
        started = _start(_name(name), self.certificate.subject, key.public_key(), last)
        builder = _extended(
            started,
            self.key.public_key(),
            x509.BasicConstraints(ca=False, path_length=None),
            _usage(signs_others=False),
        ).add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False
            )
        return pem(builder.sign(self.key, hashes.SHA256())), key_pem(key)


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def host_names(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that a broker's certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def _start(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, last: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=FIRST_DAY,
        not_valid_after=last,
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _extended(
    builder: x509.CertificateBuilder,
    signer: ec.EllipticCurvePublicKey,
    limits: x509.BasicConstraints,
    usage: x509.KeyUsage,
) -> x509.CertificateBuilder:
    """What OpenSSL's strict checks ask of every certificate."""
    return (
        builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        .add_extension(limits, critical=True)
        .add_extension(usage, critical=True)
    )


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_others,
        key_cert_sign=signs_others,
        crl_sign=signs_others,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
