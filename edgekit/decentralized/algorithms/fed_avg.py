"""FedAvg, or local SGD: train alone for some steps, then average the models of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Group, Steps


@dataclass(frozen=True)
class FedAvg(Algorithm):
    """x <- sum_i n_i x_i / sum_i n_i after `local_steps` steps of each agent; n_i its samples, or 1 each.

    No server: the agents average among themselves, each a part of the row. With one local step, plain SGD and equal
    shares it is all-reduce SGD. Absent agents are left out; `whole`: a round in which one is absent averages nobody.
    """

    weighted: bool = True
    whole: bool = False

    name: ClassVar[str] = "fedavg"
    source: ClassVar[str] = "McMahan et al., 2017; Stich, 2019"
    mixing: ClassVar[Matrix] = "none"
    vectors: ClassVar[float] = 0.0
    grouped: ClassVar[float] = 1.0

    def round(self, state: State, context: Context) -> Steps:
        """Local steps, then the weighted mean."""
        x = context.local(state["x"])
        weight = context.weights(x) if self.weighted else None
        state["x"] = yield Group((x,), weight=weight, whole=self.whole)
