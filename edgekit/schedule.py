"""Learning-rate schedules: a factor on the peak rate, from the fraction of training that is done."""

from __future__ import annotations

import math


def cosine_with_warmup(fraction: float, *, warmup: float = 0.05, floor: float = 0.01) -> float:
    """floor + (1 - floor) (1 + cos(pi f)) / 2, times a linear rise from 1/10 over the first `warmup` of
    training.

    `fraction` in [0, 1]. Source: Loshchilov and Hutter, 2017 (SGDR), without restarts.
    """
    cosine = floor + (1 - floor) * (1 + math.cos(math.pi * min(fraction, 1.0))) / 2
    rise = 1.0 if warmup <= 0 else min(1.0, 0.1 + 0.9 * fraction / warmup)
    return cosine * rise
