"""Natural compression: each value rounded at random to a power of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.codecs.bits import pack, unpack, words
from edgekit.codecs.codec import BadPayload, Codec, Payload, Row, RowSpec, check_finite, check_length

_MANTISSA = np.uint32(0x7FFFFF)
_POWER = np.uint32(0xFF800000)  # sign and exponent
_SIGN = np.uint32(0x80000000)
_LARGEST = 2.0**127


@dataclass(frozen=True)
class Natural(Codec):
    """Each value rounded at random to a power of two next to it: 9 bits a value, the sign and exponent of a float32.

    C(t) = sign(t) 2^a with probability (2^(a+1) - |t|) / 2^a, else sign(t) 2^(a+1), a = floor(log2 |t|); C(0) = 0.
    Unbiased, E C(t)^2 <= 9/8 t^2. Values below 2^-126 become 0 or 2^-126, unbiased too; those above 2^127 are sent as
    2^127.
    """

    name: ClassVar[str] = "natural"
    number: ClassVar[int] = 7
    source: ClassVar[str] = "Horvath et al., 2022"
    unbiased: ClassVar[bool] = True

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """All exponents, one byte each, then all signs, one bit each."""
        bits = self._rounded(row, random)
        return (bits >> np.uint32(23)).astype(np.uint8).tobytes() + pack(bits >= _SIGN)

    def decode(self, payload: Payload, spec: RowSpec) -> Row:
        """The powers of two."""
        check_length(self.name, payload, self.size(spec))
        exponents = np.frombuffer(payload[: spec.size], np.uint8).astype(np.uint32)
        if (exponents == 255).any():
            raise BadPayload("natural: an exponent is that of NaN or infinity.")
        signs = unpack(self.name, payload[spec.size :], spec.size).astype(np.uint32)
        bits = (exponents << np.uint32(23)) | (signs << np.uint32(31))
        return bits.view(np.float32).astype(spec.dtype, copy=False)

    def size(self, spec: RowSpec) -> int:
        """9 bits a value, rounded up."""
        return spec.size + (spec.size + 7) // 8

    def variance(self, spec: RowSpec) -> float:
        """1/8."""
        return 0.125

    def project(self, row: Row, spec: RowSpec, random: np.random.Generator) -> Row:
        """The rounded values, without the bytes."""
        return self._rounded(row, random).view(np.float32).astype(spec.dtype, copy=False)

    def _rounded(self, row: Row, random: np.random.Generator) -> npt.NDArray[np.uint32]:
        """The bits of the rounded values: the mantissa and 23 random bits carry into the exponent, or do not."""
        check_finite(self.name, row)
        values = np.clip(row, -_LARGEST, _LARGEST).astype(np.float32, copy=False)
        bits: npt.NDArray[np.uint32] = words(random, len(values), "<u4")
        bits &= _MANTISSA
        bits += values.view(np.uint32)
        bits &= _POWER
        return bits
