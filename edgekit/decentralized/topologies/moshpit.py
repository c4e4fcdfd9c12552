"""The grid of Moshpit All-Reduce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph, Ints
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.cliques import pairs_within
from edgekit.decentralized.topology import Groups, Topology
from edgekit.errors import BadInput

MOST = 30  # dimensions: two agents a line are a thousand million agents then


@dataclass(frozen=True)
class Moshpit(Topology):
    """Agents in a grid of `dimensions` d with sides m = ceil(n^(1/d)); round t averages along axis t mod d.

    W is the exact mean of each line of the grid. Where n = m^d, d rounds give the exact mean of all; on a grid with
    holes the shorter lines make it approximate.
    """

    dimensions: int = 2

    name: ClassVar[str] = "moshpit"
    source: ClassVar[str] = "Ryabinin, Gorbunov, Plokhotnyuk and Pekhimenko, 2021"
    rule: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        if not 1 <= self.dimensions <= MOST:
            raise BadInput(f"moshpit: dimensions is {self.dimensions}. Give a number from 1 to {MOST}.")

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """All pairs of each group of the round."""
        return Graph.undirected(len(roster), pairs_within(self.groups(roster, round, seed)))

    def groups(self, roster: Roster, round: int, seed: int) -> Groups:
        """Who shares all coordinates but that of axis t mod d."""
        agents, axis = np.arange(len(roster)), round % self.dimensions
        own = self.coordinates(len(roster))[:, axis] * self.side(len(roster)) ** axis
        _, line = np.unique(agents - own, return_inverse=True)
        order = np.argsort(line, kind="stable")
        return tuple(tuple(part.tolist()) for part in np.split(order, np.cumsum(np.bincount(line))[:-1]))

    def coordinates(self, agents: int) -> Ints:
        """Of each agent in the grid [n, d]: the digits of its number to base m, the lowest first."""
        side = self.side(agents)
        powers = np.array([side**axis for axis in range(self.dimensions)], np.int64)
        return np.asarray(np.arange(agents)[:, None] // powers % side, np.int64)

    def side(self, agents: int) -> int:
        """m, the smallest whole number with m^d >= n."""
        return next(side for side in range(1, agents + 1) if side**self.dimensions >= agents)

    def period(self, agents: int) -> int:
        """As many rounds as dimensions."""
        return self.dimensions
