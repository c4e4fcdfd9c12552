"""The learning rate over the rounds: linear scaling, warm-up, then steps or a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edgekit.errors import BadInput


@dataclass(frozen=True)
class Schedule:
    """A factor on the rate as a function of the part of the run that is done.

    warmup: part of the run in which the factor rises from 0 in a straight line (Goyal et al., 2017); decay: constant,
    step (times `factor` at each part in `milestones`), cosine (to `floor`) or linear (to `floor`).
    """

    warmup: float = 0.0
    decay: Literal["constant", "step", "cosine", "linear"] = "constant"
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise BadInput(f"schedule: warmup is {self.warmup:g}, a part of the run. Give 0 to below 1.")
        if any(not 0 < part < 1 for part in self.milestones):
            raise BadInput("schedule: milestones are parts of the run. Give numbers between 0 and 1.")

    def at(self, round: int, rounds: int) -> float:
        """The factor in a round 0 .. rounds - 1."""
        part = round / max(rounds, 1)
        rise = min(1.0, (round + 1) / (self.warmup * rounds)) if self.warmup else 1.0
        return rise * self._decayed(part)

    def _decayed(self, part: float) -> float:
        if self.decay == "step":
            return float(self.factor ** sum(part >= milestone for milestone in self.milestones))
        if self.decay == "cosine":
            return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * part))
        if self.decay == "linear":
            return self.floor + (1 - self.floor) * (1 - part)
        return 1.0


def linear_scaling(lr: float, batch: int, *, reference: int) -> float:
    """lr batch / reference: the rate of a larger batch (Goyal et al., 2017)."""
    return lr * batch / reference
