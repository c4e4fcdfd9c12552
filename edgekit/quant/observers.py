"""Observers: one pass over a tensor's values, bounded memory, a range at the end; and ranges as scales."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from edgekit.errors import BadInput, did_you_mean
from edgekit.quant.quantization import Scale
from edgekit.target import Grid

_TINY = float(np.finfo(np.float32).tiny)
_CHUNK = 65536
Range = tuple[float, float]


def scale_for(low: float, high: float, grid: Grid) -> Scale:
    """The scale of a grid over [low, high], widened to hold zero; float32 scale [1], zero point [1].

    Affine: s = (high - low) / (highest - lowest), z = lowest - round(low / s). Symmetric: z = 0 and
    s = max(|low|, |high|) / highest (an unsigned symmetric grid starts at zero). An all-zero range has s = 1.
    """
    if not (np.isfinite(low) and np.isfinite(high)) or low > high:
        raise BadInput(f"quantize: the range [{low}, {high}] is no range. Calibrate on finite data.")
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if grid.symmetric:
        scale = _positive((max(-low, high) if grid.signed else high) / grid.highest)
        zero = 0
    else:
        scale = _positive((high - low) / (grid.highest - grid.lowest))
        zero = int(np.clip(grid.lowest - np.rint(low / float(scale)), grid.lowest, grid.highest))
    return Scale(grid, scale.reshape(1), np.asarray([zero], np.int64))


def weight_scale(weight: np.ndarray, grid: Grid, method: str = "minmax", *, axis: int = 0) -> Scale:
    """A symmetric grid's scale for a weight, one a channel along `axis` or one in all; float32 [channels]
    or [1].

    "minmax": s = max|w| / highest. "mse": the s = r max|w| / highest, r in 2^0 .. 2^-2, of least mean (w -
    w^)^2.
    """
    if method not in ("minmax", "mse"):
        raise BadInput(
            f"quantize: there is no weight scale '{method}'. {did_you_mean(method, ('minmax', 'mse'))}"
        )
    if not grid.symmetric:
        raise BadInput("quantize: weights need a symmetric grid. Choose one in the board's file.")
    rows = (
        np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        if grid.per_channel
        else weight.reshape(1, -1)
    )
    largest = np.abs(rows).max(axis=1, initial=0.0).astype(np.float32)
    if not np.all(np.isfinite(largest)):
        raise BadInput("quantize: a weight holds NaN or infinity. Load weights that are finite.")
    scale = largest / np.float32(grid.highest)
    scale = np.where(scale < _TINY, np.float32(1.0), scale).astype(np.float32)
    if method == "mse":
        scale = _least_error(rows, scale, grid)
    return Scale(grid, scale, np.zeros(len(scale), np.int64))


def _least_error(rows: np.ndarray, scale: np.ndarray, grid: Grid) -> np.ndarray:
    best, least = scale, np.full(len(scale), np.inf)
    for factor in 2.0 ** (-np.arange(0, 33) / 16.0):
        trial = (scale * np.float32(factor)).astype(np.float32)
        fake = np.clip(np.rint(rows / trial[:, None]), grid.lowest, grid.highest) * trial[:, None]
        error = np.square(rows - fake).sum(axis=1, dtype=np.float64)
        best = np.where(error < least, trial, best)
        least = np.minimum(error, least)
    return best


def _positive(value: float) -> np.float32:
    return np.float32(1.0) if value < _TINY else np.float32(value)


class Observer(Protocol):
    """Sees values batch by batch; `range` is what the grid should cover."""

    def update(self, values: np.ndarray) -> None:
        """Take in values of any shape; they must be finite."""
        ...

    def range(self) -> Range:
        """(low, high) of all values so far."""
        ...


class MinMax:
    """The smallest and the largest value."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def update(self, values: np.ndarray) -> None:
        """Take in values of any shape."""
        if values.size:
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def range(self) -> Range:
        """(min, max)."""
        if self.low > self.high:
            raise BadInput("calibrate: nothing was observed. Give at least one batch of calibration data.")
        return self.low, self.high


class Histogram(MinMax):
    """Counts in 2 x `half` bins of width 2^k around zero; k grows by merging pairs when a value falls
    outside.

    The width depends on the largest |value| alone, so any split of the same values gives the same counts.
    """

    def __init__(self, half: int = 8192) -> None:
        super().__init__()
        self.half, self.exponent = half, -149
        self.counts = np.zeros(2 * half, np.int64)

    @property
    def width(self) -> float:
        """The width of a bin."""
        return float(2.0**self.exponent)

    @property
    def centers(self) -> np.ndarray:
        """The middle of each bin, float64 [2 half]."""
        return (np.arange(-self.half, self.half) + 0.5) * self.width

    def update(self, values: np.ndarray) -> None:
        """Take in values of any shape."""
        if not values.size:
            return
        super().update(values)
        self._widen(max(abs(self.low), abs(self.high)))
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        inverse = 2.0**-self.exponent
        factor = np.float32(inverse) if self.exponent > -120 else np.float64(inverse)
        for start in range(0, flat.size, _CHUNK):  # a chunk stays in the cache through all passes
            index = np.floor(flat[start : start + _CHUNK] * factor).astype(np.int64)
            self.counts += np.bincount(index + self.half, minlength=2 * self.half)

    def _widen(self, largest: float) -> None:
        needed = int(np.frexp(largest)[1]) - int(np.log2(self.half)) if largest > 0.0 else self.exponent
        if not self.counts.any():
            self.exponent = max(self.exponent, needed)
        while self.exponent < needed:
            # Merging pairs (2i, 2i + 1) halves every index; zero stays an edge.
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros_like(self.counts)
            self.counts[self.half // 2 : self.half // 2 + self.half] = merged
            self.exponent += 1


class Percentile(Histogram):
    """The range that leaves out the share 1 - `percent`/100 of the values at each end."""

    def __init__(self, percent: float = 99.99, half: int = 8192) -> None:
        super().__init__(half)
        if not 50.0 < percent <= 100.0:
            raise BadInput(f"calibrate: the percentile {percent} is not above 50 and at most 100. Try 99.99.")
        self.percent = percent

    def range(self) -> Range:
        """Quantiles, linear within a bin, never beyond the extremes."""
        low, high = super().range()
        edges = np.arange(-self.half, self.half + 1) * self.width
        below = np.concatenate([[0], np.cumsum(self.counts)]) / self.counts.sum()
        keep = (below[1:] > below[:-1]).nonzero()[0]
        first, last = keep[0], keep[-1] + 1
        share = np.asarray([1.0 - self.percent / 100.0, self.percent / 100.0])
        found = np.interp(share, below[first : last + 1], edges[first : last + 1])
        return float(np.clip(found[0], low, high)), float(np.clip(found[1], low, high))


class MSE(Histogram):
    """The range of least mean squared error on `grid`: its ends shrink in turn, coarsely, then finely."""

    def __init__(self, grid: Grid, half: int = 8192) -> None:
        super().__init__(half)
        self.grid = grid

    def range(self) -> Range:
        """(low, high) of least error over the histogram."""
        low, high = (min(super().range()[0], 0.0), max(super().range()[1], 0.0))
        if self.grid.symmetric:
            largest = max(-low, high) if self.grid.signed else high
            bound = self._search(lambda factor: (-largest * factor, largest * factor), 1.0)
            return max(low, -largest * bound), min(high, largest * bound)
        above, below = 1.0, 1.0
        for _ in range(2 if low < 0.0 < high else 1):
            if high > 0.0:
                above = self._search(lambda factor: (low * below, high * factor), above)  # noqa: B023
            if low < 0.0:
                below = self._search(lambda factor: (low * factor, high * above), below)  # noqa: B023
        return low * below, high * above

    def _search(self, bounds: Callable[[float], Range], start: float) -> float:
        coarse = 2.0 ** (-np.arange(0, 33) / 4.0)
        best = min((start, *coarse), key=lambda factor: self.error(*bounds(float(factor))))
        fine = np.minimum(best * 2.0 ** (np.arange(-8, 9) / 32.0), 1.0)
        return float(min((best, *fine), key=lambda factor: self.error(*bounds(float(factor)))))

    def error(self, low: float, high: float) -> float:
        """Mean (x - x^)^2 over the histogram for the grid's scale over [low, high]."""
        filled = self.counts.nonzero()[0]
        x, counts = (filled - self.half + 0.5) * self.width, self.counts[filled]
        scale = scale_for(low, high, self.grid)
        step, zero = float(scale.scale[0]), int(scale.zero_point[0])
        fake = np.clip(np.rint(x / step), self.grid.lowest - zero, self.grid.highest - zero) * step
        return float(np.dot(counts, np.square(x - fake)) / counts.sum())


class Entropy(Histogram):
    """The threshold on |x| of least Kullback-Leibler divergence to its quantized form (Migacz, 2017,
    TensorRT).

    P is the histogram of |x| cut at the threshold, what lies beyond put into its last bin; Q is P's inner
    part in 2^b levels (one-sided values on an unsigned grid) or 2^(b-1), spread evenly over P's filled
    bins.
    """

    def __init__(self, grid: Grid, half: int = 8192) -> None:
        super().__init__(half)
        self.grid = grid

    def range(self) -> Range:
        """(max(low, -T), min(high, T)) for the best threshold T."""
        low, high = super().range()
        one_sided = not self.grid.signed and (low >= 0.0 or high <= 0.0)
        levels = 2 ** (self.grid.bits - (0 if one_sided else 1))
        merge = 4
        size = (self.counts[self.half :] + self.counts[: self.half][::-1]).reshape(-1, merge).sum(axis=1)
        size = np.trim_zeros(size, "b").astype(np.float64)
        if size.size > 1:
            size[0] = size[1]  # the peak at zero is exact on any grid and would drown the rest
        trials = (*range(levels, size.size, max(1, levels // 32)), size.size)
        bins = min(trials, key=lambda count: divergence(size, count, min(levels, count)))
        threshold = bins * merge * self.width
        return max(min(low, 0.0), -threshold), min(max(high, 0.0), threshold)


def divergence(size: np.ndarray, count: int, levels: int) -> float:
    """KL(P || Q) for a histogram `size` of magnitudes cut after `count` bins and quantized to `levels`."""
    inner = size[:count]
    p = inner.copy()
    p[-1] += size[count:].sum()
    starts = np.arange(levels) * count // levels
    level = np.repeat(np.arange(levels), np.diff(np.append(starts, count)))
    filled = p > 0.0
    total, members = np.add.reduceat(inner, starts), np.add.reduceat(filled.astype(np.float64), starts)
    q = np.where(filled, (total / np.maximum(members, 1.0))[level], 0.0)
    p, q = p / p.sum(), q / max(q.sum(), _TINY)
    return float(np.sum(p[filled] * np.log(p[filled] / np.maximum(q[filled], 1e-12))))


METHODS = ("minmax", "percentile", "mse", "entropy")


def observer(method: str, grid: Grid) -> Observer:
    """A fresh observer by name."""
    makers: dict[str, Callable[[], Observer]] = {
        "minmax": MinMax,
        "percentile": Percentile,
        "mse": lambda: MSE(grid),
        "entropy": lambda: Entropy(grid),
    }
    if method not in makers:
        raise BadInput(f"quantize: there is no calibration '{method}'. {did_you_mean(method, METHODS)}")
    return makers[method]()
