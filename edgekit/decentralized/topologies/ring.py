"""A ring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class Ring(Topology):
    """Each agent speaks with the one before and the one after it; W has 1/3 each, lambda_2 = 1/3 + 2/3 cos(2 pi/n).

    both_ways: false sends to the one after alone; W has 1/2 each, and ||W - J|| = cos(pi/n).
    """

    both_ways: bool = True

    name: ClassVar[str] = "ring"

    @property
    def directed(self) -> bool:  # type: ignore[override]
        """Whether links work one way only."""
        return not self.both_ways

    @property
    def rule(self) -> str:  # type: ignore[override]
        """One way every agent hears one other, so that equal averages are doubly stochastic."""
        return "metropolis" if self.both_ways else "uniform"

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """i - (i + 1) mod n."""
        agents = np.arange(len(roster))
        links = np.stack([agents, np.roll(agents, -1)], axis=1)
        return (Graph.undirected if self.both_ways else Graph.directed)(len(roster), links)
