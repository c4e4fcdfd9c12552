"""The one-peer exponential graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.exponential import hops
from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class OnePeerExponential(Topology):
    """In round t each agent sends to one other, i + 2^(t mod ceil(log2 n)) mod n; W has 1/2, 1/2.

    Where n = 2^k, k rounds give the exact mean of all; for other n they only come near it.
    """

    name: ClassVar[str] = "one-peer-exponential"
    source: ClassVar[str] = "Ying, Yuan, Chen, Hu, Pan and Yin, 2021"
    rule: ClassVar[str] = "uniform"
    directed: ClassVar[bool] = True

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """i -> i + 2^(t mod period) mod n."""
        size = len(roster)
        agents = np.arange(size)
        step = 2 ** (round % self.period(size))
        return Graph.directed(size, np.stack([agents, (agents + step) % max(size, 1)], axis=1))

    def period(self, agents: int) -> int:
        """ceil(log2 n)."""
        return max(1, hops(agents))
