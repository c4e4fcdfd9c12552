"""A star."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class Star(Topology):
    """The first agent speaks with all others, and they with it alone: links weigh 1/n, lambda_2 = 1 - 1/n.

    Few links, but the middle carries all the traffic, and without it nobody hears anybody.
    """

    name: ClassVar[str] = "star"

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """0 - i for every other i."""
        others = np.arange(1, len(roster))
        return Graph.undirected(len(roster), np.stack([np.zeros_like(others), others], axis=1))
