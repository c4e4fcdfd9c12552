"""An Erdos-Renyi graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.keys import stream
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.redraw import TRIES, until_connected
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput


@dataclass(frozen=True)
class ErdosRenyi(Topology):
    """Every pair is joined with `probability`, drawn anew until the graph is connected.

    That is likely from ln n / n on; probability: null takes twice as much.
    """

    probability: float | None = None

    name: ClassVar[str] = "erdos-renyi"
    source: ClassVar[str] = "Erdos and Renyi, 1959"

    def __post_init__(self) -> None:
        if self.probability is not None and not 0 < self.probability <= 1:
            raise BadInput(
                f"erdos-renyi: probability is {self.probability:g}. Give a number above 0 and up to 1, or null."
            )

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """Each pair by a coin of its own."""
        size = len(roster)
        threshold = math.log(max(size, 1)) / max(size, 1)
        chance = min(1.0, 2 * threshold) if self.probability is None else self.probability
        found = until_connected(lambda number: _draw(size, chance, stream(seed, self.name, size, number)))
        if found is None:
            raise BadInput(
                f"topology: erdos-renyi of {size} agents at probability {chance:g} was not connected in {TRIES} "
                f"tries. That is likely above ln n / n = {threshold:.3g}; raise probability."
            )
        return found


def _draw(size: int, probability: float, chance: np.random.Generator) -> Graph:
    drawn = [
        agent + 1 + np.flatnonzero(chance.random(size - agent - 1) < probability) for agent in range(size)
    ]
    agents = np.repeat(np.arange(size), [len(others) for others in drawn])
    return Graph.undirected(size, np.stack([agents, np.concatenate(drawn)], axis=1))
