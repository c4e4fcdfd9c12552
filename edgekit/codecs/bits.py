"""Bits: uniform random words, and one bit a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.codecs.codec import BadPayload, Payload

Words = npt.NDArray[np.unsignedinteger[Any]]


def words(random: np.random.Generator, count: int, dtype: str) -> Words:
    """`count` uniform unsigned integers of "<u2" or "<u4", cut from draws of 64 bits.

    Faster than a draw each, and the same on every machine.
    """
    each = 8 // np.dtype(dtype).itemsize
    drawn = random.integers(0, 1 << 64, -(-count // each), np.uint64)
    return drawn.astype("<u8", copy=False).view(dtype)[:count]


def pack(flags: npt.NDArray[np.bool_]) -> bytes:
    """One bit a flag, the first flag highest; the last byte is filled with 0."""
    return np.packbits(flags).tobytes()


def unpack(name: str, packed: Payload, count: int) -> npt.NDArray[np.uint8]:
    """`count` flags 0 or 1 of exactly the bytes that `pack` makes; BadPayload where the fill is not 0."""
    flags = np.unpackbits(np.frombuffer(packed, np.uint8))
    if flags[count:].any():
        raise BadPayload(f"{name}: bits are set behind the last of {count} values.")
    return flags[:count]
