"""DeepSqueeze: compressed gossip whose losses are sent later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps
from edgekit.errors import BadInput


@dataclass(frozen=True)
class DeepSqueeze(Algorithm):
    """v_i = x_i + e_i; q_i = C(v_i); e_i = v_i - q_i; x_i += gamma (sum_j W_ij q_j - q_i)."""

    gamma: float = 0.1

    name: ClassVar[str] = "deep-squeeze"
    source: ClassVar[str] = "Tang et al., 2019"

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise BadInput(f"deep-squeeze: gamma is {self.gamma:g}. Give a number above 0 and up to 1.")

    def start(self, x: torch.Tensor, context: Context) -> State:
        """Nothing lost yet."""
        return {"x": x, "e": torch.zeros_like(x)}

    def round(self, state: State, context: Context) -> Steps:
        """Local steps, then one compressed row."""
        x = context.local(state["x"])
        value = torch.add(x, state["e"])
        reply = yield Mix((value,))
        state["e"] = torch.sub(value, reply.own[0])
        state["x"] = reply.sum.sub_(reply.own[0]).mul_(self.gamma).add_(x)
