"""Invitations: all that a device needs to join a site, in one line.

`ek1:` and base64url of: u8 version, u16 bytes of all parts, the parts, 8 bytes of SHA-256 over all before. A part is a
u16 length and its bytes: authority (DER), certificate (DER), key (PKCS 8, DER), secret, url, id, user, password; a part
that is absent is empty. Big-endian.

A line holds a private key: whoever has it can join in that name.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgekit.broker.authority import pem
from edgekit.broker.certificates import Site
from edgekit.errors import BadInput
from edgekit.wire.address import Address
from edgekit.wire.credentials import SECRET, Access, Credentials, store
from edgekit.wire.identity import (
    UNREADABLE,
    Identity,
    common_name,
    key_pem,
    public_key,
    read_certificate,
    read_key,
)
from edgekit.wire.transport import check_id

PREFIX: Final = "ek1:"
VERSION: Final = 1
PARTS: Final = 8
CHECK: Final = 8  # bytes
_HEAD: Final = struct.Struct(">BH")
_LENGTH: Final = struct.Struct(">H")


def invite(folder: Path, id: str, *, url: str | None = None) -> str:
    """The line by which a device becomes `id` of the site in `folder`; BadInput where that agent is not made yet."""
    site = Site(folder)
    known = site.url
    if url is not None:
        Address.parse(url)
    if not site.agent(id).is_dir():
        raise BadInput(
            f"broker invite: '{id}' has no certificate yet. Run: edgekit broker certs {id} --out '{folder}'"
        )
    credentials = Credentials.read(site.agent(id))
    if credentials.ca is None or credentials.certificate is None or credentials.key is None:
        raise BadInput(f"{site.agent(id)}: files are missing. Delete it and run: edgekit broker certs {id}")
    key = read_key(credentials.key).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificates = [
        read_certificate(path).public_bytes(serialization.Encoding.DER)
        for path in (credentials.ca, credentials.certificate)
    ]
    words = (url or credentials.url or known, id, credentials.user or "", credentials.password or "")
    return _line([*certificates, key, credentials.secret or b"", *(word.encode() for word in words)])


def join(line: str, folder: Path) -> Credentials:
    """Store what an invitation holds; BadInput where it is damaged, or the folder is another device's."""
    der, certificate, key, secret, *words = _parts(line)
    try:
        authority, own = x509.load_der_x509_certificate(der), x509.load_der_x509_certificate(certificate)
        own.verify_directly_issued_by(authority)
        access = Access(*(word.decode() or None for word in words))
        identity = Identity(check_id(access.id or ""), _private(key), own)
        Address.parse(access.url or "")
        if len(secret) not in (0, SECRET):
            raise ValueError("no secret has this length")
    except (*UNREADABLE, BadInput, InvalidSignature):
        raise BadInput(
            "the invitation does not fit itself. Ask for a new one: edgekit broker invite ID"
        ) from None
    identity.check("the invitation")
    _refuse_another(folder, own)
    parts = {"ca": pem(authority), "certificate": pem(own), "key": key_pem(identity.key)}
    return store(folder, parts, secret or None, access)


def _line(parts: list[bytes]) -> str:
    body = b"".join(_LENGTH.pack(len(part)) + part for part in parts)
    content = _HEAD.pack(VERSION, len(body)) + body
    return PREFIX + base64.urlsafe_b64encode(content + _check(content)).decode().rstrip("=")


def _parts(line: str) -> list[bytes]:
    """What a line holds, once it is known to be whole."""
    text = "".join(line.split())  # terminals and mail break long lines
    if not text.startswith(PREFIX):
        raise BadInput(
            f"an invitation begins with '{PREFIX}', and this with '{text[:8]}'. Copy the line that `edgekit broker "
            "invite` printed."
        )
    content = _content(text[len(PREFIX) :])
    parts, at = [], _HEAD.size
    while at < len(content) - CHECK:
        (length,) = _LENGTH.unpack_from(content, at)
        parts.append(content[at + _LENGTH.size : at + _LENGTH.size + length])
        at += _LENGTH.size + length
    if len(parts) != PARTS or at != len(content) - CHECK:
        raise BadInput(
            "the invitation is not of the form that this edgekit knows. Use the same version on both machines."
        )
    return parts


def _content(digits: str) -> bytes:
    try:
        version, length = _HEAD.unpack(_decoded(digits[:4]))
        if version != VERSION:
            raise BadInput(
                f"the invitation is of version {version}, and this edgekit reads {VERSION}. Update edgekit here."
            )
        whole = -(-8 * (_HEAD.size + length + CHECK) // 6)
        if len(digits) != whole:
            state = "was cut short" if len(digits) < whole else "has more behind it"
            raise BadInput(
                f"the invitation {state}: {len(digits)} characters of {whole}. Copy the whole line."
            )
        content = _decoded(digits)
    except (ValueError, struct.error):
        raise BadInput("the invitation holds what no invitation has. Copy the line again.") from None
    if content[-CHECK:] != _check(content[:-CHECK]):
        raise BadInput("the invitation was changed on its way: its checksum is wrong. Copy the line again.")
    return content


def _decoded(digits: str) -> bytes:
    return base64.b64decode(digits + "=" * (-len(digits) % 4), altchars=b"-_", validate=True)


def _check(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:CHECK]


def _private(content: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_der_private_key(content, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is of another kind")
    public_key(key.public_key())
    return key


def _refuse_another(folder: Path, certificate: x509.Certificate) -> None:
    path = folder / "certificate.pem"
    if path.exists() and read_certificate(path) != certificate:
        raise BadInput(
            f"{folder}: here are the credentials of '{common_name(read_certificate(path))}' already. Name another "
            "folder with --to, or remove this one."
        )
