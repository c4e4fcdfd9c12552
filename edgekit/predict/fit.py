"""The time of kernels of one family at sizes that were not measured: a cost model, and a smooth correction of it.

The cost model is a sum of costs (products, bytes, ...) with non-negative rates. What it misses
(registers half filled, caches, loops that end early) is log(measured / t), interpolated over the logarithms of
the sizes by Gaussian process regression (Rasmussen and Williams, 2006) whose length scales are those of least
leave-one-out error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

LENGTHS: Final = (0.7, 1.5, 3.0, 6.0, 12.0, 100.0)  # of log2 sizes; 100: the size does not matter
NOISES: Final = (0.003, 0.03, 0.2)  # of the correction's variance
START: Final = 3.0
SWEEPS: Final = 2
FEW, UNSURE = 4, 0.3  # fewer samples than FEW say nothing about their own error of log time
WEIGHT: Final = 5  # samples that the belief before them counts as much as
MOST: Final = 250  # samples that the length scales are chosen on


@dataclass(frozen=True)
class Shape:
    """What a fit chose: rates [costs], length scales [features], noise, and the leave-one-out error of log time."""

    rates: tuple[float, ...]
    lengths: tuple[float, ...]
    noise: float
    error: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {key: getattr(self, key) for key in ("rates", "lengths", "noise", "error")}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Shape:
        """The inverse of `to_json`."""
        return cls(
            tuple(value["rates"]), tuple(value["lengths"]), float(value["noise"]), float(value["error"])
        )


class Fit:
    """A fit to features [n, features] (log2), costs [n, costs] and times [n]."""

    def __init__(self, shape: Shape, features: np.ndarray, costs: np.ndarray, times: np.ndarray) -> None:
        self.shape, self._features = shape, features
        missed = np.log(times / (costs @ np.asarray(shape.rates)))
        self._centre = float(np.median(missed))
        self._spread = _believed(float(np.var(missed)), UNSURE**2, len(times))
        self._error = _believed(shape.error, UNSURE, len(times))
        inverse = np.linalg.inv(
            _covariance(features, features, shape.lengths) + _nugget(shape.noise, len(times))
        )
        self._missed = missed - self._centre
        self._weights, self._inverse = inverse @ self._missed, inverse

    def doubts(self) -> np.ndarray:
        """The difference of each sample's log time to what all others say of it [n]; 0 for a sample alone."""
        if len(self._missed) < FEW:
            return np.zeros(len(self._missed))
        return left_out(self._features, self._missed, self.shape.lengths, self.shape.noise)

    def predict(self, features: np.ndarray, cost: np.ndarray) -> tuple[float, float]:
        """Time of one kernel, and the standard deviation of its logarithm."""
        near = _covariance(features[None], self._features, self.shape.lengths)[0]
        missed = self._centre + float(near @ self._weights)
        unknown = max(0.0, 1.0 - float(near @ self._inverse @ near)) * self._spread
        time = float(cost @ np.asarray(self.shape.rates)) * float(np.exp(missed))
        return time, float(np.sqrt(unknown + self._error**2))


def rough(features: np.ndarray, costs: np.ndarray, times: np.ndarray) -> Fit:
    """A fit with length scales as they come: quick, and good enough to see where samples are missing."""
    rates = non_negative(costs / times[:, None], np.ones(len(times)), sweeps=100)
    missed = np.log(times / (costs @ rates))
    lengths = (START,) * features.shape[1]
    error = _error(features, missed - np.median(missed), lengths, NOISES[1])
    return Fit(Shape(tuple(rates.tolist()), lengths, NOISES[1], error), features, costs, times)


def choose(features: np.ndarray, costs: np.ndarray, times: np.ndarray) -> Shape:
    """The rates and, one after the other, the length scale of each feature and the noise."""
    rates = non_negative(costs / times[:, None], np.ones(len(times)))
    missed = np.log(times / (costs @ rates))
    missed = missed - np.median(missed)
    few = np.random.default_rng(0).permutation(len(times))[:MOST]
    lengths, noise = [START] * features.shape[1], NOISES[1]
    best = _error(features[few], missed[few], lengths, noise)
    moving = [axis for axis in range(features.shape[1]) if np.ptp(features[:, axis]) > 1e-9]
    for _ in range(SWEEPS if len(times) >= FEW else 0):
        for axis in moving:
            for length in LENGTHS:
                trial = [*lengths[:axis], length, *lengths[axis + 1 :]]
                error = _error(features[few], missed[few], trial, noise)
                if error < best:
                    best, lengths = error, trial
        for trial_noise in NOISES:
            error = _error(features[few], missed[few], lengths, trial_noise)
            if error < best:
                best, noise = error, trial_noise
    return Shape(tuple(rates.tolist()), tuple(lengths), noise, best)


def non_negative(matrix: np.ndarray, wanted: np.ndarray, *, sweeps: int = 2000) -> np.ndarray:
    """x >= 0 of least |matrix x - wanted|^2, by coordinate descent (Franc et al., 2005); columns may be zero."""
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    unit = matrix / scale
    gram, goal = unit.T @ unit, unit.T @ wanted
    x = np.zeros(matrix.shape[1])
    for _ in range(sweeps):
        for axis in range(len(x)):
            if gram[axis, axis] > 0:
                x[axis] = max(0.0, x[axis] + (goal[axis] - gram[axis] @ x) / gram[axis, axis])
    return np.asarray(x / scale)


def left_out(features: np.ndarray, missed: np.ndarray, lengths: Sequence[float], noise: float) -> np.ndarray:
    """Each sample's difference to what all others predict of it, (K^-1 y)_i / (K^-1)_ii."""
    inverse = np.linalg.inv(_covariance(features, features, lengths) + _nugget(noise, len(missed)))
    return np.asarray(inverse @ missed / np.diag(inverse))


def _error(features: np.ndarray, missed: np.ndarray, lengths: Sequence[float], noise: float) -> float:
    """The mean absolute difference of `left_out`."""
    if len(missed) < FEW:
        return UNSURE
    return float(np.mean(np.abs(left_out(features, missed, lengths, noise))))


def _covariance(left: np.ndarray, right: np.ndarray, lengths: Sequence[float]) -> np.ndarray:
    """Matern 5/2: (1 + r + r^2 / 3) exp(-r) with r = sqrt(5) times the scaled distance."""
    scale = np.asarray(lengths)
    a, b = left / scale, right / scale
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    r = np.sqrt(5 * np.maximum(square, 0.0))
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))


def _believed(seen: float, before: float, count: int) -> float:
    """A few samples may lie well by luck: what they show, weighed against what was believed before any was seen."""
    return (count * seen + WEIGHT * before) / (count + WEIGHT)


def _nugget(noise: float, count: int) -> np.ndarray:
    return np.eye(count) * (noise + 1e-6)
