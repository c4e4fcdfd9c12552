"""Eight bits: each value rounded to one of 256 levels between the smallest and the largest of its layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.codecs.bits import words
from edgekit.codecs.codec import BadPayload, Codec, Payload, Row, RowSpec, check_finite, check_length

Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class UInt8(Codec):
    """Each value rounded to one of 256 levels between the least and the greatest of its layer: 1 byte a value.

    C(x) = low + step q, q = floor((x - low) / step + u) in 0..255, u uniform in [0, 1), or 1/2 where not stochastic;
    low and step travel in the row's dtype, for each layer. step is (max - min) / 255, rounded up to a multiple of the
    spacing of floating-point numbers at the largest magnitude, so that every level is such a number: an offset costs
    neither accuracy nor bias, and a constant layer is exact. |C(t) - t| < step, unbiased to 2^-16 step; nearest:
    <= step / 2. Values beyond a quarter of the dtype's largest are sent as that.
    """

    stochastic: bool = True

    name: ClassVar[str] = "uint8"
    number: ClassVar[int] = 4
    source: ClassVar[str] = "Alistarh et al., 2017; Gan et al., 2021"

    @property
    def unbiased(self) -> bool:  # type: ignore[override]
        """Where the rounding is stochastic."""
        return self.stochastic

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """The low of every layer, the step of every layer, then all levels."""
        grid, levels = self._quantize(row, spec, random)
        return grid.astype(spec.little, copy=False).tobytes() + levels.tobytes()

    def decode(self, payload: Payload, spec: RowSpec) -> Row:
        """The values of the levels."""
        check_length(self.name, payload, self.size(spec))
        head = self._head(spec)
        grid = np.frombuffer(payload[:head], spec.little).astype(spec.dtype).reshape(2, -1)
        low, step = grid
        with np.errstate(over="ignore", invalid="ignore"):
            sound = np.isfinite(low) & (step >= 0) & np.isfinite(low + 255 * step)
        if not sound.all():
            raise BadPayload("uint8: a layer's levels are negative in step or not finite.")
        return _values(grid, np.frombuffer(payload[head:], np.uint8), spec)

    def size(self, spec: RowSpec) -> int:
        """Two numbers a layer and a byte a value: 8 layers + size for float32."""
        return self._head(spec) + spec.size

    def variance(self, spec: RowSpec) -> float | None:
        """d / 130000, d the longest layer: (step / 2)^2 a value, and ||x||^2 >= (max - min)^2 / 2."""
        return _loss(spec) if self.stochastic else None

    def contraction(self, spec: RowSpec) -> float | None:
        """1 - d / 130000 where that is positive, by the same bound; only for nearest rounding."""
        return None if self.stochastic or _loss(spec) >= 1 else 1.0 - _loss(spec)

    def project(self, row: Row, spec: RowSpec, random: np.random.Generator) -> Row:
        """The values of the levels, without the bytes."""
        return _values(*self._quantize(row, spec, random), spec)

    def _head(self, spec: RowSpec) -> int:
        return 2 * spec.itemsize * len(spec.bounds)

    def _quantize(self, row: Row, spec: RowSpec, random: np.random.Generator) -> tuple[Row, Levels]:
        """(low and step [2, layers], levels [size])."""
        check_finite(self.name, row)
        grid, scaled = _grid(row, spec), np.empty(spec.size, spec.dtype)
        with np.errstate(over="ignore"):  # values beyond a quarter of the largest, clipped below
            for (start, stop), low, step in zip(spec.bounds, *grid, strict=True):
                np.subtract(row[start:stop], low, out=scaled[start:stop])
                if step:
                    scaled[start:stop] /= step
        scaled += words(random, spec.size, "<u2") * np.float32(2**-16) if self.stochastic else np.float32(0.5)
        return grid, np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def _grid(row: Row, spec: RowSpec) -> Row:
    """low and step of each layer [2, layers]; both are multiples of the spacing at the layer's largest magnitude."""
    ends = [
        (row[start:stop].min(), row[start:stop].max()) if start < stop else (0, 0)
        for start, stop in spec.bounds
    ]
    quarter = float(np.finfo(spec.dtype).max) / 4
    low, high = np.array(ends, spec.dtype).clip(-quarter, quarter).T
    spacing = np.spacing(np.maximum(np.abs(low), np.abs(high))).astype(np.float64)
    low = np.floor(low / spacing) * spacing
    step = np.ceil((high - low) / spacing / 255) * spacing
    return np.stack([low, step]).astype(spec.dtype)


def _values(grid: Row, levels: Levels, spec: RowSpec) -> Row:
    out = levels.astype(spec.dtype)
    for (start, stop), low, step in zip(spec.bounds, *grid, strict=True):
        out[start:stop] *= step
        out[start:stop] += low
    return out


def _loss(spec: RowSpec) -> float:
    return spec.longest / 130_000  # 2 * 255^2 = 130050, less what rounding the step up may add
