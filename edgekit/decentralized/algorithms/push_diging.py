"""Push-DIGing: gradient tracking over directed graphs, with push-sum weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps


@dataclass(frozen=True)
class PushDIGing(Algorithm):
    """u' = C (u - lr y); v' = C v; x' = u' / v'; y' = C y + g(x') - g(x), C column-stochastic.

    u, y and the weight v travel in one message: what arrives of one without the others spoils all.
    """

    name: ClassVar[str] = "push-diging"
    source: ClassVar[str] = "Nedic, Olshevsky and Shi, 2017"
    mixing: ClassVar[Matrix] = "column"
    optimizer: ClassVar[Literal["any", "plain", "own"]] = "plain"
    local_steps: ClassVar[bool] = False
    vectors: ClassVar[float] = 2.0
    keeps_mean: ClassVar[bool] = False  # the mean of u is kept; that of x = u / v only once the weights agree

    def start(self, x: torch.Tensor, context: Context) -> State:
        """Weights 1; the tracker is the own gradient."""
        gradient = context.gradient(x).clone()
        context.advance()
        ones = x.new_ones(len(x), 1)
        return {"x": x, "u": x.clone(), "v": ones, "y": gradient.clone(), "g": gradient}

    def round(self, state: State, context: Context) -> Steps:
        """One exchange of two rows and a weight."""
        u, v, y = state["u"].add_(state["y"], alpha=-context.lr), state["v"], state["y"]
        reply = yield Mix((u, y, v))
        state["u"], state["v"] = reply.pull(u), reply.pull(v, at=2)
        state["x"] = state["u"] / state["v"]
        gradient = context.gradient(state["x"])
        state["y"] = reply.pull(y, at=1).add_(gradient).sub_(state["g"])
        state["g"] = gradient
