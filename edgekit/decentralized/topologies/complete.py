"""The complete graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class Complete(Topology):
    """Every agent speaks with every other: W is 1/n everywhere, and one round gives the mean."""

    name: ClassVar[str] = "complete"

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """All pairs."""
        target, source = np.nonzero(~np.eye(len(roster), dtype=bool))
        return Graph(len(roster), source, target)
