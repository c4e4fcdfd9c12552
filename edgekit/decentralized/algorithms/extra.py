"""EXTRA: a correction of every step by the one before makes decentralized gradient descent exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps


@dataclass(frozen=True)
class Extra(Algorithm):
    """x'' = x' + W x' - (I + W)/2 x - lr (g' - g), first W x - lr g: reaches the optimum of the sum exactly."""

    name: ClassVar[str] = "extra"
    source: ClassVar[str] = "Shi, Ling, Wu and Yin, 2015"
    mixing: ClassVar[Matrix] = "symmetric"
    static_graph: ClassVar[bool] = True
    optimizer: ClassVar[Literal["any", "plain", "own"]] = "plain"
    local_steps: ClassVar[bool] = False

    def start(self, x: torch.Tensor, context: Context) -> State:
        """So that the first round is W x - lr g."""
        return {"x": x, "half": x.clone(), "step": torch.zeros_like(x)}

    def round(self, state: State, context: Context) -> Steps:
        """One exchange of the models; (x + W x) / 2 is kept for the next."""
        x, step = state["x"], context.gradient(state["x"]).mul_(context.lr)
        mixed = (yield Mix((x,))).pull(x)
        state["x"] = torch.add(x, mixed).sub_(state["half"]).sub_(step).add_(state["step"])
        state["half"], state["step"] = mixed.add_(x).mul_(0.5), step
