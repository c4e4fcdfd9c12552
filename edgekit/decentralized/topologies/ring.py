"""A ring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class Ring(Topology):
    """Each agent speaks with the one before and the one after it; W has 1/3 each, lambda_2 = 1/3 + 2/3 cos(2 pi/n)."""

    name: ClassVar[str] = "ring"

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """i - (i + 1) mod n."""
        size = len(roster)
        return Graph.undirected(size, [(agent, (agent + 1) % size) for agent in range(size)])
