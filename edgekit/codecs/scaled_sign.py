"""Scaled sign: one bit a value, one scale a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.codecs.codec import BadPayload, Codec, Row, RowSpec, check_length


@dataclass(frozen=True)
class ScaledSign(Codec):
    """C(x) = (||x||_1 / d) sign(x), layer by layer: 1 bit a value and a float32 a layer; 0 counts as positive.

    A contraction with delta = ||x||_1^2 / (d ||x||_2^2) >= 1/d, 2/pi for Gaussian values. Biased: wrap it in error
    feedback.
    """

    name: ClassVar[str] = "scaled-sign"
    number: ClassVar[int] = 8
    source: ClassVar[str] = "Karimireddy et al., 2019"

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """All scales, then all bits."""
        scales = np.array(
            [np.abs(row[start:stop]).mean(dtype=np.float64) for start, stop in spec.bounds], "<f4"
        )
        return scales.tobytes() + np.packbits(row >= 0).tobytes()

    def decode(self, payload: bytes, spec: RowSpec) -> Row:
        """The scale of its layer with the sign of each value."""
        check_length(self.name, payload, self.size(spec))
        head = 4 * len(spec.bounds)
        scales = np.frombuffer(payload[:head], "<f4")
        if not (np.isfinite(scales).all() and (scales >= 0).all()):
            raise BadPayload("scaled-sign: a scale is negative or not finite.")
        bits = np.unpackbits(np.frombuffer(payload[head:], np.uint8), count=spec.size)
        return self._values(bits.astype(bool), scales, spec)

    def size(self, spec: RowSpec) -> int:
        """4 layers + size / 8, rounded up."""
        return 4 * len(spec.bounds) + (spec.size + 7) // 8

    def contraction(self, spec: RowSpec) -> float:
        """1 / d of the longest layer, at worst."""
        return 1.0 / max(stop - start for start, stop in spec.bounds)

    def _values(self, positive: np.ndarray, scales: np.ndarray, spec: RowSpec) -> Row:
        out = np.empty(spec.size, spec.dtype)
        for (start, stop), scale in zip(spec.bounds, scales, strict=True):
            out[start:stop] = np.where(positive[start:stop], scale, -scale)
        return out
