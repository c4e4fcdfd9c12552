"""Random matchings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.keys import stream
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class RandomMatching(Topology):
    """Every round pairs all agents anew at random; W has 1/2, 1/2, and the odd one out keeps its model.

    One message an agent; a round leaves half of the squared distance to the mean, in expectation and for large n.
    """

    name: ClassVar[str] = "random-matching"
    source: ClassVar[str] = "Boyd, Ghosh, Prabhakar and Shah, 2006"

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """Neighbours in a random order of the agents."""
        size = len(roster)
        order = stream(seed, self.name, size, round).permutation(size)
        return Graph.undirected(size, order[: size - size % 2].reshape(-1, 2))

    def period(self, agents: int) -> int | None:
        """Never the same again."""
        return None
