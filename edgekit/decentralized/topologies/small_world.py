"""A small world."""

from __future__ import annotations

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
class SmallWorld(Topology):
    """A ring in which each agent speaks with the `degree` nearest, and a part `rewire` of the links leads anywhere.

    A few far links make paths short. Drawn anew until the graph is connected.
    """

    degree: int = 4
    rewire: float = 0.1

    name: ClassVar[str] = "small-world"
    source: ClassVar[str] = "Watts and Strogatz, 1998"

    def __post_init__(self) -> None:
        if self.degree < 2 or self.degree % 2:
            raise BadInput(
                f"small-world: degree is {self.degree}, but half of it lies on each side. Give an even number, 2 or "
                "more."
            )
        if not 0 <= self.rewire <= 1:
            raise BadInput(f"small-world: rewire is {self.rewire:g}. Give a number from 0 to 1.")

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """i - i + 1, ..., i + degree/2, each moved to a random other end with probability `rewire`."""
        size = len(roster)
        if size <= self.degree:
            raise BadInput(
                f"topology: small-world of degree {self.degree} takes {self.degree + 1} agents or more, but there are "
                f"{size}. Lower degree, or take complete."
            )
        found = until_connected(lambda number: self._draw(size, stream(seed, self.name, size, number)))
        if found is None:
            raise BadInput(
                f"topology: small-world of {size} agents with degree {self.degree} and rewire {self.rewire:g} was not "
                f"connected in {TRIES} tries. Raise degree, or lower rewire."
            )
        return found

    def _draw(self, size: int, chance: np.random.Generator) -> Graph:
        near = [{(agent + step) % size for step in self._steps()} for agent in range(size)]
        moved = chance.random((self.degree // 2, size)) < self.rewire
        for step, agent in np.argwhere(moved).tolist():
            _move(near, agent, (agent + step + 1) % size, chance)
        return Graph.undirected(size, [(agent, other) for agent in range(size) for other in near[agent]])

    def _steps(self) -> list[int]:
        half = range(1, self.degree // 2 + 1)
        return [*half, *(-step for step in half)]


def _move(near: list[set[int]], agent: int, old: int, chance: np.random.Generator) -> None:
    """Lead the link agent - old to an agent that is not yet a neighbour, where there is one."""
    size = len(near)
    if len(near[agent]) >= size - 1:
        return
    new = agent
    while new == agent or new in near[agent]:
        new = int(chance.integers(size))
    near[agent] = (near[agent] - {old}) | {new}
    near[old].discard(agent)
    near[new].add(agent)
