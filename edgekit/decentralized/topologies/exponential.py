"""The static exponential graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class Exponential(Topology):
    """i sends to i + 2^k mod n for all 2^k < n: log2 n links an agent, and still nearly complete.

    W is circulant, so equal weights are doubly stochastic; ||W - J|| = 1 - 2/(1 + ceil(log2 n)) for even n.
    """

    name: ClassVar[str] = "exponential"
    source: ClassVar[str] = "Ying, Yuan, Chen, Hu, Pan and Yin, 2021"
    rule: ClassVar[str] = "uniform"
    directed: ClassVar[bool] = True

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """i -> i + 2^k mod n."""
        size = len(roster)
        agents = np.repeat(np.arange(size), hops(size))
        steps = np.tile(2 ** np.arange(hops(size)), size)
        return Graph.directed(size, np.stack([agents, (agents + steps) % max(size, 1)], axis=1))


def hops(agents: int) -> int:
    """ceil(log2 n): how many powers of two lie below n."""
    return max(agents - 1, 0).bit_length()
