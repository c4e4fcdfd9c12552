"""Scaled sign: one bit a value, one scale a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.codecs.bits import pack, unpack
from edgekit.codecs.codec import BadPayload, Codec, Payload, Row, RowSpec, check_finite, check_length

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ScaledSign(Codec):
    """The sign of each value, times the mean magnitude of its layer: 1 bit a value and a float32 a layer.

    C(x) = (||x||_1 / d) sign(x); 0 counts as positive. A contraction with delta = ||x||_1^2 / (d ||x||_2^2) >= 1/d,
    2/pi for Gaussian values. Biased: wrap it in error feedback.
    """

    name: ClassVar[str] = "scaled-sign"
    number: ClassVar[int] = 8
    source: ClassVar[str] = "Karimireddy et al., 2019"

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """All scales, then all bits."""
        return self._scales(row, spec).astype("<f4", copy=False).tobytes() + pack(row >= 0)

    def decode(self, payload: Payload, spec: RowSpec) -> Row:
        """The scale of its layer with the sign of each value."""
        check_length(self.name, payload, self.size(spec))
        head = 4 * len(spec.bounds)
        scales = np.frombuffer(payload[:head], "<f4")
        if not (np.isfinite(scales).all() and (scales >= 0).all()):
            raise BadPayload("scaled-sign: a scale is negative or not finite.")
        return _values(unpack(self.name, payload[head:], spec.size), scales, spec)

    def size(self, spec: RowSpec) -> int:
        """4 layers + size / 8, rounded up."""
        return 4 * len(spec.bounds) + (spec.size + 7) // 8

    def contraction(self, spec: RowSpec) -> float:
        """1 / d of the longest layer, at worst."""
        return 1.0 / max(1, spec.longest)

    def project(self, row: Row, spec: RowSpec, random: np.random.Generator) -> Row:
        """The scales with the signs, without the bytes."""
        return _values(row >= 0, self._scales(row, spec), spec)

    def _scales(self, row: Row, spec: RowSpec) -> npt.NDArray[np.float32]:
        """||x||_1 / d of each layer [layers]; 0 for a layer without values."""
        check_finite(self.name, row)
        magnitude = np.abs(row)
        with np.errstate(over="ignore"):
            means = [
                magnitude[start:stop].sum(dtype=np.float64) / max(1, stop - start)
                for start, stop in spec.bounds
            ]
        return np.minimum(means, _LARGEST).astype(np.float32)


def _values(positive: npt.NDArray[np.generic], scales: npt.NDArray[np.float32], spec: RowSpec) -> Row:
    out = positive.astype(spec.dtype)
    out += out
    out -= 1
    for (start, stop), scale in zip(spec.bounds, scales, strict=True):
        out[start:stop] *= scale
    return out
