"""How a run trains: what is the same for every engine and every agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgekit.codecs.codec import Codec
from edgekit.codecs.raw import Raw
from edgekit.decentralized.keys import stream
from edgekit.decentralized.optimizers import Optimizer, Sgd
from edgekit.decentralized.schedule import Schedule


@dataclass(frozen=True)
class Absence:
    """Agents that are not there in a round: each with probability `rate`, drawn anew each round; `loss` of a link."""

    rate: float = 0.0
    loss: float = 0.0

    def present(self, ids: tuple[int, ...], round: int, seed: int) -> npt.NDArray[np.bool_]:
        """Who is there [n]."""
        if not self.rate:
            return np.ones(len(ids), bool)
        drawn = np.array([stream(seed, "absent", agent, round).random() for agent in ids])
        return drawn >= self.rate


@dataclass
class Settings:
    """How a run trains, the same for every engine."""

    codec: Codec = field(default_factory=Raw)
    optimizer: Optimizer = field(default_factory=Sgd)
    schedule: Schedule = field(default_factory=Schedule)
    rounds: int = 100
    local_steps: int = 1
    accumulate: int = 1
    weights: str | None = None  # rule of the mixing matrix; the topology's own where None
    seed: int = 0
    strict: bool = False
    absence: Absence = field(default_factory=Absence)
    buffers: Literal["mix", "local"] = (
        "mix"  # running statistics: averaged with the models' weights, or left alone
    )
