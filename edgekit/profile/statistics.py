"""Percentiles and intervals of repeated measurements, without scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

Values = Sequence[float] | np.ndarray


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval."""

    value: float
    low: float
    high: float


def percentile(values: Values, share: float) -> float:
    """The value below which `share` (0 to 100) percent of `values` lie, linear between neighbours."""
    return float(np.percentile(np.asarray(values, np.float64), share))


def mean_interval(values: Values, *, confidence: float = 0.95) -> Interval:
    """mean +- t s / sqrt(n), Student's t with n - 1 degrees of freedom (Student, 1908)."""
    data = np.asarray(values, np.float64)
    if data.size < 2:
        raise ValueError("an interval needs at least two values")
    half = t_quantile(0.5 + confidence / 2, data.size - 1) * float(data.std(ddof=1)) / math.sqrt(data.size)
    mean = float(data.mean())
    return Interval(mean, mean - half, mean + half)


def trimmed_interval(values: Values, *, trim: float = 0.2, confidence: float = 0.95) -> Interval:
    """The mean without the lowest and highest `trim` share, +- t s_w sqrt((n - 1) / (h (h - 1))).

    s_w is the standard deviation after winsorizing, h the number of values kept, t has h - 1 degrees of
    freedom. A few rounds spoilt by other processes move it little (Yuen, 1974). trim = 0 is
    `mean_interval`.
    """
    data = np.sort(np.asarray(values, np.float64))
    count, cut = data.size, int(trim * data.size)
    kept = data[cut : count - cut]
    if kept.size < 2:
        raise ValueError("an interval needs at least two values after trimming")
    deviation = float(np.clip(data, kept[0], kept[-1]).std(ddof=1))
    scale = deviation * math.sqrt((count - 1) / (kept.size * (kept.size - 1)))
    half = t_quantile(0.5 + confidence / 2, kept.size - 1) * scale
    mean = float(kept.mean())
    return Interval(mean, mean - half, mean + half)


@lru_cache(maxsize=256)
def t_quantile(probability: float, freedom: float) -> float:
    """The x with P(T <= x) = probability for Student's t with `freedom` degrees of freedom, by bisection."""
    if not 0.0 < probability < 1.0 or freedom <= 0:
        raise ValueError(
            f"t_quantile: needs 0 < probability < 1 and freedom > 0, got {probability}, {freedom}"
        )
    if probability < 0.5:
        return -t_quantile(1.0 - probability, freedom)
    low, high = 0.0, 1.0
    while t_probability(high, freedom) < probability:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if t_probability(middle, freedom) < probability else (low, middle)
    return 0.5 * (low + high)


def t_probability(x: float, freedom: float) -> float:
    """P(T <= x) = 1 - I_y(freedom / 2, 1 / 2) / 2 with y = freedom / (freedom + x^2), for x >= 0."""
    if x < 0:
        return 1.0 - t_probability(-x, freedom)
    return 1.0 - 0.5 * _incomplete_beta(freedom / (freedom + x * x), freedom / 2.0, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularized I_x(a, b) by its continued fraction (Lentz, 1976; Press et al., 1992)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _beta_fraction(x, a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0) or tiny)
    value = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d or tiny)
            c = 1.0 + term / c or tiny
            value *= c * d
        if abs(1.0 - c * d) < 1e-15:
            break
    return value
