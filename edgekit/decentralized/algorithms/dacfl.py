"""DACFL: every user tracks the average of all models by dynamic average consensus, and uses that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps


@dataclass(frozen=True)
class DACFL(Algorithm):
    """w_i' = local steps from sum_j W_ij w_j; x_i' = sum_j W_ij x_j + w_i' - w_i (FODAC, Zhu and Martinez, 2010).

    x_i = w_i at first, so that sum_i x_i = sum_i w_i always; x_i is the model that the user gets, w_i the one that
    learns. Both travel in one message.
    """

    name: ClassVar[str] = "dacfl"
    source: ClassVar[str] = "Chen, Li, Zhu and Zhang, 2021"
    vectors: ClassVar[float] = 2.0

    def start(self, x: torch.Tensor, context: Context) -> State:
        """The estimate is the own model."""
        return {"x": x, "w": x.clone()}

    def round(self, state: State, context: Context) -> Steps:
        """One exchange of two rows."""
        x, w = state["x"], state["w"]
        reply = yield Mix((w, x))
        state["w"] = context.local(reply.pull(w))
        state["x"] = reply.pull(x, at=1).add_(state["w"]).sub_(w)
