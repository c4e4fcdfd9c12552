"""Natural compression: each value rounded at random to a power of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.codecs.codec import Codec, Row, RowSpec, check_length

_MANTISSA = np.uint32(0x7FFFFF)
_EXPONENT = np.uint32(0x7F800000)
_SIGN = np.uint32(0x80000000)
_LARGEST = np.uint32(0x7F000000)  # 2^127: rounding up from here would be infinite


@dataclass(frozen=True)
class Natural(Codec):
    """C(t) = sign(t) 2^a with probability (2^(a+1) - |t|) / 2^a, else sign(t) 2^(a+1), a = floor(log2 |t|); C(0) = 0.

    Unbiased, E C(t)^2 <= 9/8 t^2. 9 bits a value: the sign and the exponent of a float32. Values below 2^-126 are sent
    as 0, those above 2^127 as 2^127.
    """

    name: ClassVar[str] = "natural"
    number: ClassVar[int] = 7
    source: ClassVar[str] = "Horvath et al., 2022"
    unbiased: ClassVar[bool] = True

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """All exponents, one byte each, then all signs, one bit each."""
        bits = self._rounded(row, random)
        exponents = (bits >> np.uint32(23)).astype(np.uint8)
        return exponents.tobytes() + np.packbits(bits >= _SIGN).tobytes()

    def decode(self, payload: bytes, spec: RowSpec) -> Row:
        """The powers of two."""
        check_length(self.name, payload, self.size(spec))
        exponents = np.frombuffer(payload[: spec.size], np.uint8).astype(np.uint32)
        signs = np.unpackbits(np.frombuffer(payload[spec.size :], np.uint8), count=spec.size).astype(
            np.uint32
        )
        bits = (np.minimum(exponents, np.uint32(254)) << np.uint32(23)) | (signs << np.uint32(31))
        return bits.view(np.float32).astype(spec.dtype)

    def size(self, spec: RowSpec) -> int:
        """9 bits a value, rounded up."""
        return spec.size + (spec.size + 7) // 8

    def variance(self, spec: RowSpec) -> float:
        """1/8."""
        return 0.125

    def project(self, row: Row, spec: RowSpec, random: np.random.Generator) -> Row:
        """The rounded values, without the bytes."""
        return self._rounded(row, random).view(np.float32).astype(spec.dtype)

    def _rounded(self, row: Row, random: np.random.Generator) -> np.ndarray:
        """The bits of the rounded values: the exponent goes up with the probability of the mantissa."""
        bits = np.ascontiguousarray(row, np.float32).view(np.uint32)
        up = random.integers(0, 1 << 23, len(bits), np.uint32) < (bits & _MANTISSA)
        magnitude = np.minimum((bits & _EXPONENT) + (up.astype(np.uint32) << np.uint32(23)), _LARGEST)
        return np.where(bits & _EXPONENT, (bits & _SIGN) | magnitude, np.uint32(0)).astype(np.uint32)
