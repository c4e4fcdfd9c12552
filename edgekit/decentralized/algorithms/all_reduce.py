"""All-reduce SGD: the mean of all gradients, as one machine with all the data would compute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Group, Steps


@dataclass(frozen=True)
class AllReduce(Algorithm):
    """x <- x - lr step(mean_i g_i(x)): every agent holds the same model."""

    name: ClassVar[str] = "all-reduce"
    source: ClassVar[str] = "Patarasuk and Yuan, 2009"
    mixing: ClassVar[Matrix] = "none"
    local_steps: ClassVar[bool] = False
    vectors: ClassVar[float] = 0.0
    grouped: ClassVar[float] = 1.0

    def round(self, state: State, context: Context) -> Steps:
        """The gradients are averaged exactly, scattered and gathered."""
        x = state["x"]
        mean = yield Group((context.gradient(x),), slot="gradient")
        state["x"] = context.step(x, mean)
