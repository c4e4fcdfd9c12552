"""Clique averaging: gradients are averaged within the clique, models with all neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Group, Mix, Steps


@dataclass(frozen=True)
class CliqueAveraging(Algorithm):
    """g_i <- mean of the gradients of i's clique; a step of the optimizer; x_i <- sum_j W_ij x_j.

    Cliques that hold all labels together make the step unbiased, and momentum works on that gradient, not on the
    agent's own (the momentum fix). Links between cliques carry models only.
    """

    name: ClassVar[str] = "clique-averaging"
    source: ClassVar[str] = "Bellet, Kermarrec and Lavoie, 2022"
    groups: ClassVar[bool] = True
    local_steps: ClassVar[bool] = False
    grouped: ClassVar[float] = 1.0

    def round(self, state: State, context: Context) -> Steps:
        """Gradients in the clique, then models to the neighbours."""
        x = state["x"]
        gradient = yield Group((context.gradient(x),), slot="gradient", among="groups")
        x = context.step(x, gradient)
        state["x"] = (yield Mix((x,))).pull(x)
