"""Decentralized momentum SGD: every agent's momentum meets its neighbours' models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps
from edgekit.errors import BadInput


@dataclass(frozen=True)
class DmSGD(Algorithm):
    """v_i <- m v_i + g_i; x_i <- sum_j W_ij (x_j - lr v_j), or with g + m v where `nesterov` (Assran et al., 2019).

    With `mix_momentum` the momenta are averaged too, in the same message (Yu, Jin and Yang, 2019).
    """

    momentum: float = 0.9
    nesterov: bool = False
    mix_momentum: bool = False

    name: ClassVar[str] = "dmsgd"
    source: ClassVar[str] = "Yu, Jin and Yang, 2019"
    optimizer: ClassVar[Literal["any", "plain", "own"]] = "own"
    local_steps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise BadInput(f"dmsgd: momentum is {self.momentum:g}. Give a number from 0 to below 1.")

    @property
    def vectors(self) -> float:  # type: ignore[override]
        """Two rows where momenta are mixed."""
        return 2.0 if self.mix_momentum else 1.0

    def start(self, x: torch.Tensor, context: Context) -> State:
        """Momentum 0."""
        return {"x": x, "v": torch.zeros_like(x)}

    def round(self, state: State, context: Context) -> Steps:
        """One step, then one exchange."""
        x, v = state["x"], state["v"]
        gradient = context.gradient(x)
        v.mul_(self.momentum).add_(gradient)
        step = gradient.add_(v, alpha=self.momentum) if self.nesterov else v
        x.add_(step, alpha=-context.lr)
        reply = yield Mix((x, v) if self.mix_momentum else (x,))
        state["x"] = reply.pull(x)
        if self.mix_momentum:
            state["v"] = reply.pull(v, at=1)
