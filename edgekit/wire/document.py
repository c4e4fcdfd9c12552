"""Signed documents: small JSON objects that no one but their sender could have written.

A document is canonical JSON (keys sorted, no spaces, UTF-8), signed together with its run, name, sender and number,
so that it cannot be passed off as another. Numbers grow with each version: an older one never replaces a newer. Number
0 is the will, which is sealed before any other and may come at any time.

What is received may be from anyone: size and form are checked before anything is decoded, the signature before the body
is read. A document that fails is a `BadDocument` that says why.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from edgekit.errors import EdgekitError
from edgekit.wire.identity import HASH, UNREADABLE, Identity, common_name, outdated, public_key
from edgekit.wire.transport import ID

LARGEST: Final = 2**20  # bytes of a sealed document
DEEPEST: Final = 32  # levels of a body
LAST: Final = 2**63 - 1
WILL: Final = 0  # the number of a will

_DOMAIN: Final = b"edgekit document 1"
_FORM: Final = {
    "body": str,
    "key": str,
    "name": str,
    "number": int,
    "run": str,
    "sender": str,
    "signature": str,
}


class BadDocument(EdgekitError):
    """A document that is not what it claims to be; the message says in what."""


def seal(identity: Identity, run: str, name: str, body: dict[str, Any], number: int) -> bytes:
    """A document of this agent, signed; ValueError where no one would open it.

    >>> document = seal(Identity.make("cam-1"), "demo", "state", {"round": 3}, number=1)
    >>> Trust("demo").open(document, "cam-1", "state")
    {'round': 3}
    """
    if not 0 <= number <= LAST or not all(ID.fullmatch(text) for text in (run, name)):
        raise ValueError(f"no document can have run '{run}', name '{name}' and number {number}")
    content = _canonical(body)
    try:
        _body(content)
    except _Refused as why:
        raise ValueError(f"document '{name}': {why}") from None
    signature = identity.sign(_signed(run, name, identity.id, number, content))
    envelope = {"run": run, "name": name, "sender": identity.id, "number": number}
    parts = {"body": content, "key": identity.public, "signature": signature}
    sealed = _canonical(envelope | {key: base64.b64encode(part).decode() for key, part in parts.items()})
    if len(sealed) > LARGEST:
        raise ValueError(f"document '{name}' has {len(sealed):,} bytes; at most {LARGEST:,} are allowed")
    return sealed


class Trust:
    """Whom an agent believes in one run.

    With the certificate of a site's authority, a document needs a certificate of that site in its sender's name.
    Without one, the first key that an id is seen with is its key from then on: enough on loopback, where all is one's
    own.
    """

    def __init__(self, run: str, ca: x509.Certificate | None = None) -> None:
        self.run, self.ca = run, ca
        self._keys: dict[str, _Known] = {}
        self._newest: dict[tuple[str, str], int] = {}

    def open(self, payload: bytes | bytearray, sender: str, name: str) -> dict[str, Any]:
        """The body of a document that came as `name` of `sender`; BadDocument for anything else."""
        try:
            return self._open(payload, sender, name)
        except _Refused as why:
            raise BadDocument(f"document '{name[:64]}' of '{sender[:64]}': {why}") from None

    def newest(self, sender: str, name: str) -> int:
        """The highest number of a document that was opened; who comes back goes on above its own."""
        return self._newest.get((sender, name), WILL)

    def _open(self, payload: bytes | bytearray, sender: str, name: str) -> dict[str, Any]:
        envelope = _envelope(payload)
        for key, expected in (("run", self.run), ("sender", sender), ("name", name)):
            if envelope[key] != expected:
                raise _Refused(f"it was written for another {key} ({envelope[key][:64]!r}).")
        content, signature, number = (
            _bytes(envelope["body"]),
            _bytes(envelope["signature"]),
            envelope["number"],
        )
        known = self._known(sender, _bytes(envelope["key"]))
        try:
            known.key.verify(signature, _signed(self.run, name, sender, number, content), HASH)
        except InvalidSignature:
            raise _Refused("its signature is wrong: it was changed on its way, or forged.") from None
        newest = self.newest(sender, name)
        if WILL < number < newest:
            raise _Refused(f"its number {number} is older than {newest}, which was seen before.")
        body = _body(content)
        self._keys[sender] = known
        self._newest[sender, name] = max(number, newest)
        return body

    def _known(self, sender: str, public: bytes) -> _Known:
        """The key of a sender: as it was, or checked anew."""
        known = self._keys.get(sender)
        if known is None or known.public != public:
            if self.ca is None and known is not None:
                raise _Refused(
                    "its key is not the one this id had before: two agents use the same id, or one was started anew "
                    "without its key. Give each an id of its own, or start the run anew."
                )
            known = _bare(public) if self.ca is None else _certified(public, self.ca, sender)
        if known.certificate is not None and (ended := outdated(known.certificate)):
            raise _Refused(ended)
        return known


@dataclass(frozen=True)
class _Known:
    """A key that was checked: its public form, and the certificate it came with."""

    public: bytes
    key: ec.EllipticCurvePublicKey
    certificate: x509.Certificate | None = None


class _Refused(Exception):
    """Why a document is not opened."""


def _bare(public: bytes) -> _Known:
    try:
        return _Known(public, public_key(load_der_public_key(public)))
    except UNREADABLE:
        raise _Refused(
            "its key is no P-256 public key. Where its sender has a certificate, join this agent to the same site."
        ) from None


def _certified(public: bytes, ca: x509.Certificate, sender: str) -> _Known:
    try:
        certificate = x509.load_der_x509_certificate(public)
        # first: nothing else of it is looked at unless the authority wrote it
        certificate.verify_directly_issued_by(ca)
        key = public_key(certificate.public_key())
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (*UNREADABLE, InvalidSignature, x509.ExtensionNotFound, x509.DuplicateExtension):
        raise _Refused(
            "it has no certificate of this site. Join its sender to the site: edgekit broker invite, then edgekit "
            "agent join."
        ) from None
    if common_name(certificate) != sender or x509.ExtendedKeyUsageOID.CLIENT_AUTH not in uses:
        raise _Refused(f"it is signed with the certificate of '{common_name(certificate)}'.")
    return _Known(public, key, certificate)


def _envelope(payload: bytes | bytearray) -> dict[str, Any]:
    if len(payload) > LARGEST:
        raise _Refused(f"it has {len(payload):,} bytes; at most {LARGEST:,} are allowed.")
    found = _parsed(payload)
    if not isinstance(found, dict) or {key: type(value) for key, value in found.items()} != _FORM:
        raise _Refused("it is no signed document.")
    if not WILL <= found["number"] <= LAST:
        raise _Refused("its number is out of range.")
    return found


def _body(content: bytes) -> dict[str, Any]:
    found = _parsed(content)
    if not isinstance(found, dict):
        raise _Refused("its body is no JSON object.")
    if _depth(found) > DEEPEST:
        raise _Refused(f"its body is nested deeper than {DEEPEST} levels.")
    return found


def _parsed(content: bytes | bytearray) -> Any:
    try:
        value = json.loads(content.decode())
        canonical = _canonical(value) == content
    except (ValueError, RecursionError):
        canonical = False
    if not canonical:
        raise _Refused("it is not canonical JSON.")
    return value


def _canonical(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _bytes(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        found = None
    if (
        found is None or base64.b64encode(found).decode() != text
    ):  # the last character has bits that say nothing
        raise _Refused("a part of it is not base64.")
    return found


def _depth(value: Any) -> int:
    """Levels of dicts and lists, counted without recursion and no further than matters."""
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        inside = [item.values() if isinstance(item, dict) else item for item in level]
        level = [item for items in inside for item in items if isinstance(item, (dict, list))]
        depth += 1
    return depth


def _signed(run: str, name: str, sender: str, number: int, body: bytes) -> bytes:
    """What the signature is over; every part has its length in front, so that none runs into the next."""
    parts = (_DOMAIN, run.encode(), name.encode(), sender.encode(), struct.pack(">Q", number), body)
    return b"".join(struct.pack(">Q", len(part)) + part for part in parts)
