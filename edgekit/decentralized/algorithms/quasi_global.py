"""QG-DSGDm: momentum that follows how the averaged model moves, so that it does not carry an agent's own bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps
from edgekit.errors import BadInput


@dataclass(frozen=True)
class QuasiGlobal(Algorithm):
    """h_i = x_i - lr (b m_i + g_i); x_i' = sum_j W_ij h_j; m_i <- mu m_i + (1 - mu) (x_i - x_i') / lr.

    With `nesterov` the step is g + b (b m + g).
    """

    momentum: float = 0.9  # b
    mu: float = 0.9
    nesterov: bool = False

    name: ClassVar[str] = "qg-dsgdm"
    source: ClassVar[str] = "Lin, Karimireddy, Stich and Jaggi, 2021"
    optimizer: ClassVar[Literal["any", "plain", "own"]] = "own"
    local_steps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("momentum", "mu"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInput(
                    f"qg-dsgdm: {name} is {getattr(self, name):g}. Give a number from 0 to below 1."
                )

    def start(self, x: torch.Tensor, context: Context) -> State:
        """Momentum 0."""
        return {"x": x, "m": torch.zeros_like(x)}

    def round(self, state: State, context: Context) -> Steps:
        """One exchange of the models."""
        x, m = state["x"], state["m"]
        gradient = context.gradient(x)
        step = torch.add(gradient, m, alpha=self.momentum)
        if self.nesterov:
            step.mul_(self.momentum).add_(gradient)
        half = torch.add(x, step, alpha=-context.lr)
        mixed = (yield Mix((half,))).pull(half)
        m.mul_(self.mu).add_(x - mixed, alpha=(1 - self.mu) / context.lr)
        state["x"] = mixed
