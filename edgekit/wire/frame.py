"""A frame: 48 bytes that say what a chunk is and whose, the chunk, and a tag where the run has a key.

Little-endian: magic "EK", version u8, kind u8, codec u16, flags u16 (bit 0: tagged), run u32, epoch u32, round u32,
phase u8, 0 u8, stream u16, chunk u16, chunks u16, sender u32, length u32 of the chunk, total u32 of the message,
schema u32, crc u32. The CRC-32 is that of the 44 bytes before it and the chunk. A tagged frame has crc 0 and ends
with 16 bytes: HMAC-SHA256 of header and chunk.

All chunks of a message but the last have the same length. Whoever reads a frame allocates nothing that a header asks
for.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from enum import Enum, IntEnum
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from edgekit.errors import EdgekitError

MAGIC: Final = b"EK"
VERSION: Final = 1
TAGGED: Final = 1
TAG: Final = 16  # bytes: half of an HMAC-SHA256, as RFC 2104 allows
MOST_CHUNKS: Final = (1 << 16) - 1
MOST_BYTES: Final = (1 << 32) - 1
_START = Struct("<2sBBHHIIIBBHHHIIII")  # what the checksum covers
_HEADER = Struct(_START.format + "I")
HEADER: Final = _HEADER.size


class Kind(IntEnum):
    """What a message is for."""

    DATA = 1  # an exchange of an algorithm
    WANT = 2  # asks again for what is missing
    MODEL = 3  # a whole model, for who joins
    OFFER = 4  # pairwise averaging begins
    ANSWER = 5  # and ends
    REPORT = 6  # a model, for an observer
    SPLIT = 7  # a value, a gradient, labels or weights of a split network


class Reason(str, Enum):
    """Why bytes are no frame of this run."""

    SHORT = "shorter than a header"
    MAGIC = "does not begin with EK"
    VERSION = "another version"
    KIND = "unknown kind"
    RESERVED = "reserved bits are set"
    UNTAGGED = "has no tag, but this run has a key"
    TAGGED = "has a tag, but this run has no key"
    LENGTH = "another length than its header says"
    CHUNKS = "chunk and chunks do not fit"
    TOTAL = "total does not fit its chunks"
    CHECKSUM = "wrong checksum"
    TAG = "wrong tag"


class BadFrame(EdgekitError):
    """Bytes that are no frame of this run; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"no frame: {reason.value}.")
        self.reason = reason


class Head(NamedTuple):
    """What a message is and whose.

    run: `run_hash`; phase, stream: which of an exchange's and of an algorithm's; sender: its number in the roster;
    schema: hash of the layout that both ends hold.
    """

    kind: Kind
    codec: int = 0
    run: int = 0
    epoch: int = 0
    round: int = 0
    phase: int = 0
    stream: int = 0
    sender: int = 0
    schema: int = 0


class Frame(NamedTuple):
    """Chunk `chunk` of `chunks` of a message of `total` bytes; `payload` looks into the bytes received."""

    head: Head
    chunk: int
    chunks: int
    total: int
    payload: memoryview


def pack(head: Head, payload: bytes | memoryview, *, largest: int, key: bytes | None) -> list[bytes]:
    """The frames of a message, in order, each at most `largest` bytes; ValueError where no frames can carry it."""
    return list(packing(head, payload, largest=largest, key=key))


def packing(head: Head, payload: bytes | memoryview, *, largest: int, key: bytes | None) -> Iterator[bytes]:
    """As `pack`, each frame when it is asked for."""
    room, total = largest - HEADER - (0 if key is None else TAG), len(payload)
    if room < 1:
        raise ValueError(f"no chunk fits a frame of {largest} bytes")
    chunks = max(1, -(-total // room))
    if chunks > MOST_CHUNKS or total > MOST_BYTES:
        raise ValueError(f"a message of {total:,} bytes is too large for frames of {largest:,} bytes")
    parts, flags = memoryview(payload), 0 if key is None else TAGGED
    route = (head.run, head.epoch, head.round, head.phase, 0, head.stream)
    for chunk in range(chunks):
        part = parts[chunk * room : (chunk + 1) * room]
        size = (chunk, chunks, head.sender, len(part), total, head.schema)
        start = _START.pack(MAGIC, VERSION, head.kind, head.codec, flags, *route, *size)
        yield _sealed(start, part, key)


def unpack(data: bytes | bytearray, key: bytes | None) -> Frame:
    """The frame that bytes are; BadFrame where they are none."""
    if len(data) < HEADER:
        raise BadFrame(Reason.SHORT)
    if not data.startswith(MAGIC):  # before anything is read: most of what is foreign ends here
        raise BadFrame(Reason.MAGIC)
    fields = _HEADER.unpack_from(data)
    _, version, number, codec, flags, run, epoch, round, phase = fields[:9]
    reserved, stream, chunk, chunks, sender, length, total, schema, crc = fields[9:]
    kind = _KINDS.get(number)
    if version != VERSION:
        raise BadFrame(Reason.VERSION)
    if kind is None:
        raise BadFrame(Reason.KIND)
    if reserved or flags & ~TAGGED:
        raise BadFrame(Reason.RESERVED)
    if flags != (0 if key is None else TAGGED):
        raise BadFrame(Reason.TAGGED if key is None else Reason.UNTAGGED)
    if length != len(data) - HEADER - (0 if key is None else TAG):
        raise BadFrame(Reason.LENGTH)
    if chunk >= chunks:
        raise BadFrame(Reason.CHUNKS)
    if not _adds_up(chunk, chunks, length, total):
        raise BadFrame(Reason.TOTAL)
    view = memoryview(data)
    _check_seal(view, crc, key)
    head = Head(kind, codec, run, epoch, round, phase, stream, sender, schema)
    return Frame(head, chunk, chunks, total, view[HEADER : HEADER + length])


_KINDS = {kind.value: kind for kind in Kind}


def _sealed(start: bytes, part: memoryview, key: bytes | None) -> bytes:
    """A whole frame; the join is the one copy of the chunk."""
    if key is None:
        return b"".join((start, crc32(part, crc32(start)).to_bytes(4, "little"), part))
    header = start + bytes(4)
    tag = hmac.new(key, header, "sha256")
    tag.update(part)
    return b"".join((header, part, tag.digest()[:TAG]))


def _check_seal(view: memoryview, crc: int, key: bytes | None) -> None:
    if key is None:
        if crc32(view[HEADER:], crc32(view[: _START.size])) != crc:
            raise BadFrame(Reason.CHECKSUM)
    elif crc:
        raise BadFrame(Reason.CHECKSUM)
    elif not hmac.compare_digest(hmac.digest(key, view[:-TAG], "sha256")[:TAG], view[-TAG:]):
        raise BadFrame(Reason.TAG)


def _adds_up(chunk: int, chunks: int, length: int, total: int) -> bool:
    """Whether total = s (chunks - 1) + last with 0 < last <= s, where `length` is s, or last in the last chunk."""
    if chunks == 1:
        return total == length
    if chunk == chunks - 1:
        size, rest = divmod(total - length, chunks - 1)
        return rest == 0 and 0 < length <= size
    return 0 < total - length * (chunks - 1) <= length


def run_hash(run: str) -> int:
    """The first 4 bytes of SHA-256: what a run's name is in a header."""
    return int.from_bytes(hashlib.sha256(run.encode()).digest()[:4], "little")


def frame_key(secret: bytes, run: str) -> bytes:
    """The 32-byte key of a run's tags, by HKDF-SHA256 (Krawczyk, 2010): another for each run of one secret."""
    drawn = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(drawn, b"edgekit frame " + run.encode() + b"\1", "sha256")
