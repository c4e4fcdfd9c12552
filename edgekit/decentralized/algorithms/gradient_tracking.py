"""Gradient tracking: every agent keeps an estimate of the mean gradient beside its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps


@dataclass(frozen=True)
class GradientTracking(Algorithm):
    """x' = W x - lr y; y' = W y + g(x') - g(x), y = g(x) at first: mean(y) = mean(g) always, and x reaches the optimum.

    Models and trackers travel in one message.
    """

    name: ClassVar[str] = "gradient-tracking"
    source: ClassVar[str] = "Di Lorenzo and Scutari, 2016; Nedic, Olshevsky and Shi, 2017"
    optimizer: ClassVar[Literal["any", "plain", "own"]] = "plain"
    local_steps: ClassVar[bool] = False
    vectors: ClassVar[float] = 2.0

    def start(self, x: torch.Tensor, context: Context) -> State:
        """The tracker is the own gradient."""
        gradient = context.gradient(x).clone()
        context.advance()
        return {"x": x, "y": gradient.clone(), "g": gradient}

    def round(self, state: State, context: Context) -> Steps:
        """One exchange of two rows."""
        x, y = state["x"], state["y"]
        reply = yield Mix((x, y))
        state["x"] = reply.pull(x).add_(y, alpha=-context.lr)
        gradient = context.gradient(state["x"])
        state["y"] = reply.pull(y, at=1).add_(gradient).sub_(state["g"])
        state["g"] = gradient
