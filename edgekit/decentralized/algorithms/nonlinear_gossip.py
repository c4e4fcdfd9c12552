"""NGO: gossip that pulls harder on small differences, and so reaches consensus in finite time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Edges, Steps
from edgekit.errors import BadInput


@dataclass(frozen=True)
class NonlinearGossip(Algorithm):
    """x_i += sum_j W_ij phi(x_j - x_i), phi(z) = gamma s sgn(z) |z / s|^p elementwise, after the local steps.

    p = 1 is gossip with rate gamma. In discrete time phi overshoots where |z| < s gamma^(1 / (1 - p)) and consensus
    stops there (chattering); `guard` holds |phi(z)| to |z|, the pull of plain gossip. phi is odd and W symmetric, so
    the mean is kept. `scale` is s, the difference that is pulled as gossip of rate gamma pulls it.
    """

    power: float = 0.5
    gamma: float = 0.5
    scale: float = 1.0
    guard: bool = True

    name: ClassVar[str] = "ngo"
    source: ClassVar[str] = "Chen, Wang, Carin and Tao, 2021"
    mixing: ClassVar[Matrix] = "symmetric"

    def __post_init__(self) -> None:
        if not 0 < self.power <= 1:
            raise BadInput(f"ngo: power is {self.power:g}. Give a number above 0 and up to 1.")
        if not 0 < self.gamma <= 1 or self.scale <= 0:
            raise BadInput("ngo: gamma lies above 0 and up to 1, and scale above 0.")

    def round(self, state: State, context: Context) -> Steps:
        """Local steps, then one exchange heard edge by edge."""
        x = context.local(state["x"])
        heard = yield Edges((x,))
        apart = torch.sub(heard.value, heard.own[0].index_select(0, heard.target))
        pull = self.pull(apart).mul_(heard.weight.unsqueeze(1))
        state["x"] = x.index_add(0, heard.target, pull)

    def pull(self, apart: torch.Tensor) -> torch.Tensor:
        """phi of differences of any shape."""
        size = apart.abs()
        strength = (size / self.scale).pow_(self.power).mul_(self.gamma * self.scale)
        if self.guard:
            strength = torch.minimum(strength, size)
        return strength.mul_(apart.sign())
