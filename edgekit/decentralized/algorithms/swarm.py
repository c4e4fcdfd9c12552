"""SwarmSGD: pairs that meet at random average, after a random number of local steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from edgekit.decentralized.algorithm import State
from edgekit.decentralized.algorithms.ad_psgd import ADPSGD
from edgekit.decentralized.context import Context
from edgekit.decentralized.keys import stream


@dataclass(frozen=True)
class SwarmSGD(ADPSGD):
    """H_i local steps, H_i geometric with mean `local_steps` (or exactly so many); then a pair averages.

    The partner's model is taken as it was before the work it is at, so that it is not interrupted, and its steps are
    added when they are done (the non-blocking form).
    """

    geometric: bool = True

    name: ClassVar[str] = "swarm"
    source: ClassVar[str] = "Nadiradze et al., 2021"

    def local(self, state: State, row: int, seen: torch.Tensor, context: Context) -> None:
        """As many steps as this agent draws for this meeting."""
        if self.geometric:
            mean = context.local_steps
            drawn = stream(context.seed, "swarm", context.ids[0], int(context.draws[0])).geometric(1 / mean)
            context.local_steps = int(min(drawn, 10 * mean))
        super().local(state, row, seen, context)
