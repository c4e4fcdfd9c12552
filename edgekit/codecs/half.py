"""Half precision: each value rounded to the nearest of 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.codecs.codec import Codec, Payload, Row, RowSpec, check_decoded, check_finite, check_length

Halves = npt.NDArray[np.uint16]


class _Half(Codec):
    """What both formats share: 2 bytes a value, little-endian."""

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """The rounded values."""
        return self._narrow(row).astype("<u2", copy=False).tobytes()

    def decode(self, payload: Payload, spec: RowSpec) -> Row:
        """The same values in the row's dtype."""
        check_length(self.name, payload, self.size(spec))
        values = self._widen(np.frombuffer(payload, "<u2").astype(np.uint16))
        return check_decoded(self.name, values).astype(spec.dtype, copy=False)

    def size(self, spec: RowSpec) -> int:
        """2 size."""
        return 2 * spec.size

    def project(self, row: Row, spec: RowSpec, random: np.random.Generator) -> Row:
        """The rounded values, without the bytes."""
        return self._widen(self._narrow(row)).astype(spec.dtype, copy=False)

    def _narrow(self, row: Row) -> Halves:
        """The bits of the rounded values [size]; BadInput where they are not finite."""
        raise NotImplementedError

    def _widen(self, halves: Halves) -> Row:
        """The values of such bits, in any dtype that holds them."""
        raise NotImplementedError


@dataclass(frozen=True)
class Fp16(_Half):
    """Each value as the nearest float16, ties to even: 2 bytes a value.

    |C(t) - t| <= 2^-11 |t| for 2^-14 <= |t| <= 65504, and 2^-25 below; beyond, +-65504 is sent. No contraction is
    declared, because values below 2^-25 become 0: rows of small gradients want bf16.
    """

    name: ClassVar[str] = "fp16"
    number: ClassVar[int] = 2
    source: ClassVar[str] = "IEEE 754, 2008"

    def _narrow(self, row: Row) -> Halves:
        check_finite(self.name, row)
        return np.clip(row, -65504.0, 65504.0).astype(np.float16).view(np.uint16)

    def _widen(self, halves: Halves) -> Row:
        return halves.view(np.float16)


_LARGEST = float(np.uint32(0x7F7F0000).view(np.float32))  # (2 - 2^-7) 2^127


@dataclass(frozen=True)
class Bf16(_Half):
    """Each value as the nearest bfloat16, the upper half of a float32, ties to even: 2 bytes a value.

    |C(t) - t| <= 2^-8 |t| for 2^-126 <= |t| <= (2 - 2^-7) 2^127; beyond, the largest finite value is sent.
    """

    name: ClassVar[str] = "bf16"
    number: ClassVar[int] = 3
    source: ClassVar[str] = "Kalamkar et al., 2019"

    def contraction(self, spec: RowSpec) -> float:
        """1 - 2^-16."""
        return 1.0 - 2.0**-16

    def _narrow(self, row: Row) -> Halves:
        check_finite(self.name, row)
        bits = np.clip(row, -_LARGEST, _LARGEST).astype(np.float32, copy=False).view(np.uint32)
        even = (bits >> np.uint32(16)) & np.uint32(1)
        return ((bits + even + np.uint32(0x7FFF)) >> np.uint32(16)).astype(np.uint16)

    def _widen(self, halves: Halves) -> Row:
        return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)
