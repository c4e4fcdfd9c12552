"""A line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class Line(Topology):
    """Each agent speaks with the one before and the one after it, and the ends are not joined.

    The slowest connected graph: lambda_2 = 1/3 + 2/3 cos(pi/n).
    """

    name: ClassVar[str] = "line"

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """i - i + 1."""
        first = np.arange(max(len(roster) - 1, 0))
        return Graph.undirected(len(roster), np.stack([first, first + 1], axis=1))
