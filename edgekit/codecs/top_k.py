"""Top-k: the largest values as they are, 0 for the others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.codecs.codec import (
    BadPayload,
    Codec,
    Payload,
    Row,
    RowSpec,
    check_decoded,
    check_finite,
    check_length,
)
from edgekit.errors import BadInput

Indices = npt.NDArray[np.integer]


@dataclass(frozen=True)
class TopK(Codec):
    """The k = max(1, ceil(ratio d)) values of largest magnitude, of the row or of each layer; 0 for the others.

    Of equal magnitudes, the first are taken. A contraction with delta = k/d. Biased: wrap it in error feedback. k
    indices, ascending, of 2 bytes for rows of up to 65536 values and 4 beyond, then k values in the row's dtype.
    """

    ratio: float = 0.01
    per_layer: bool = False

    name: ClassVar[str] = "top-k"
    number: ClassVar[int] = 5
    source: ClassVar[str] = "Stich, Cordonnier and Jaggi, 2018"

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise BadInput(f"top-k: ratio is {self.ratio:g}. Give a number above 0, at most 1.")

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """All indices, then all values."""
        chosen = self._chosen(row, spec)
        return chosen.astype(_index(spec)).tobytes() + row[chosen].astype(spec.little, copy=False).tobytes()

    def decode(self, payload: Payload, spec: RowSpec) -> Row:
        """The values in their places, 0 elsewhere."""
        check_length(self.name, payload, self.size(spec))
        cut = self._count(spec) * _index(spec).itemsize
        chosen = np.frombuffer(payload[:cut], _index(spec))
        if (chosen[1:] <= chosen[:-1]).any() or (chosen[-1:] >= spec.size).any():
            raise BadPayload(f"top-k: the indices do not ascend within a row of {spec.size} values.")
        return check_decoded(self.name, _spread(chosen, np.frombuffer(payload[cut:], spec.little), spec))

    def size(self, spec: RowSpec) -> int:
        """k (2 or 4 + itemsize)."""
        return self._count(spec) * (_index(spec).itemsize + spec.itemsize)

    def contraction(self, spec: RowSpec) -> float:
        """k/d; the least of all layers where each has its own k."""
        return min(
            (self._kept(stop - start) / (stop - start) for start, stop in self._parts(spec)), default=1.0
        )

    def project(self, row: Row, spec: RowSpec, random: np.random.Generator) -> Row:
        """The values in their places, without the bytes."""
        chosen = self._chosen(row, spec)
        return _spread(chosen, row[chosen], spec)

    def _parts(self, spec: RowSpec) -> list[tuple[int, int]]:
        """What k is counted in: the layers that hold values, or the row."""
        bounds = spec.bounds if self.per_layer else ((0, spec.size),)
        return [(start, stop) for start, stop in bounds if start < stop]

    def _kept(self, length: int) -> int:
        """k of d values, d > 0."""
        return max(1, math.ceil(round(self.ratio * length, 6)))  # 0.07 * 100 is a little more than 7

    def _count(self, spec: RowSpec) -> int:
        return sum(self._kept(stop - start) for start, stop in self._parts(spec))

    def _chosen(self, row: Row, spec: RowSpec) -> Indices:
        check_finite(self.name, row)
        magnitude = np.abs(row)
        parts = [
            start + _largest(magnitude[start:stop], self._kept(stop - start))
            for start, stop in self._parts(spec)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _largest(magnitude: Row, count: int) -> Indices:
    """The indices of the `count` largest, ascending; of equals, the first."""
    threshold = np.partition(magnitude, len(magnitude) - count)[len(magnitude) - count]
    chosen = np.flatnonzero(magnitude >= threshold)
    excess = len(chosen) - count
    if excess:
        equal = np.flatnonzero(magnitude[chosen] == threshold)
        chosen = np.delete(chosen, equal[-excess:])
    return chosen


def _index(spec: RowSpec) -> np.dtype[np.unsignedinteger]:
    """The narrowest of uint16 and uint32 that numbers the row."""
    return np.dtype("<u2" if spec.size <= 1 << 16 else "<u4")


def _spread(chosen: Indices, values: Row, spec: RowSpec) -> Row:
    out = np.zeros(spec.size, spec.dtype)
    out[chosen] = values
    return out
