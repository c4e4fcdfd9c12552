"""D2: the difference of two rounds takes out what agents' data differ by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps


@dataclass(frozen=True)
class D2(Algorithm):
    """x' = W (2 x - x_before - lr g + lr_before g_before), first W (x - lr g): reaches the optimum of the sum exactly.

    Needs a symmetric W whose eigenvalues lie above -1/3.
    """

    name: ClassVar[str] = "d2"
    source: ClassVar[str] = "Tang et al., 2018"
    mixing: ClassVar[Matrix] = "symmetric"
    smallest_eigenvalue: ClassVar[float] = -1 / 3
    static_graph: ClassVar[bool] = True
    optimizer: ClassVar[Literal["any", "plain", "own"]] = "plain"
    local_steps: ClassVar[bool] = False

    def start(self, x: torch.Tensor, context: Context) -> State:
        """As if the model had stood still before."""
        return {"x": x, "before": x.clone(), "step": torch.zeros_like(x)}

    def round(self, state: State, context: Context) -> Steps:
        """One exchange of the extrapolated models."""
        x, step = state["x"], context.gradient(state["x"]).mul_(context.lr)
        ahead = torch.mul(x, 2).sub_(state["before"]).sub_(step).add_(state["step"])
        state["before"], state["step"] = x, step
        state["x"] = (yield Mix((ahead,))).pull(ahead)
