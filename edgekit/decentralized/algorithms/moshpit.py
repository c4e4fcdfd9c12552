"""Moshpit SGD: local steps, then exact averages within groups that change every round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Group, Steps


@dataclass(frozen=True)
class MoshpitSGD(Algorithm):
    """x_i <- mean of the models of i's group of this round, after the local steps.

    On the moshpit grid of n = m^d agents d rounds give the exact mean of all. Who is absent keeps its model and is
    left out of its group's mean, so that nobody waits.
    """

    name: ClassVar[str] = "moshpit"
    source: ClassVar[str] = "Ryabinin, Gorbunov, Plokhotnyuk and Pekhimenko, 2021"
    mixing: ClassVar[Matrix] = "none"
    groups: ClassVar[bool] = True
    vectors: ClassVar[float] = 0.0
    grouped: ClassVar[float] = 1.0

    def round(self, state: State, context: Context) -> Steps:
        """One average within the group."""
        x = context.local(state["x"])
        state["x"] = yield Group((x,), among="groups")
