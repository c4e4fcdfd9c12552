"""What the tests of frames share."""

from __future__ import annotations

import hashlib
import hmac
from struct import pack_into
from zlib import crc32

from edgekit.wire.frame import HEADER, TAG, Frame, Head, Kind, pack, unpack

KEY = bytes(range(32))
HEAD = Head(
    Kind.DATA, codec=3, run=0x11223344, epoch=5, round=6, phase=1, stream=2, sender=4, schema=0xAABBCCDD
)
PLACES = {  # of a field in a header: (offset, struct format)
    "version": (2, "<B"),
    "kind": (3, "<B"),
    "codec": (4, "<H"),
    "flags": (6, "<H"),
    "run": (8, "<I"),
    "epoch": (12, "<I"),
    "round": (16, "<I"),
    "phase": (20, "<B"),
    "reserved": (21, "<B"),
    "stream": (22, "<H"),
    "chunk": (24, "<H"),
    "chunks": (26, "<H"),
    "sender": (28, "<I"),
    "length": (32, "<I"),
    "total": (36, "<I"),
    "schema": (40, "<I"),
}


def packed(
    payload: bytes, head: Head = HEAD, *, chunk: int = 1 << 16, key: bytes | None = None
) -> list[bytes]:
    """The frames of a message, in chunks of so many bytes."""
    return pack(head, payload, largest=HEADER + chunk + (TAG if key else 0), key=key)


def frames(payload: bytes, head: Head = HEAD, *, chunk: int = 1 << 16) -> list[Frame]:
    """What a receiver reads of a message."""
    return [unpack(data, None) for data in packed(payload, head, chunk=chunk)]


def changed(data: bytes, key: bytes | None = None, **fields: int) -> bytes:
    """A frame with other fields, sealed anew: what only its meaning gives away."""
    new = bytearray(data)
    for name, value in fields.items():
        offset, form = PLACES[name]
        pack_into(form, new, offset, value)
    return sealed(new, key)


def sealed(data: bytearray, key: bytes | None) -> bytes:
    """A frame with the right checksum or tag, computed as the format says and not as the code does."""
    if key is None:
        data[44:48] = crc32(data[:44] + data[48:]).to_bytes(4, "little")
        return bytes(data)
    return bytes(data[:-16]) + hmac.new(key, data[:-16], hashlib.sha256).digest()[:16]
