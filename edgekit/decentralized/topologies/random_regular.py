"""A random regular graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph, Ints
from edgekit.decentralized.keys import stream
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.cliques import pairs_within
from edgekit.decentralized.topologies.redraw import TRIES, until_connected
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput


@dataclass(frozen=True)
class RandomRegular(Topology):
    """Every agent has `degree` neighbours, drawn at random and connected: few links, yet nearly as quick as any.

    lambda_2 of W lies near (1 + 2 sqrt(degree - 1))/(degree + 1) at any number of agents (Friedman, 2008).
    """

    degree: int = 4

    name: ClassVar[str] = "random-regular"

    def __post_init__(self) -> None:
        if self.degree < 1:
            raise BadInput(f"random-regular: degree is {self.degree}. Give 1 or more.")

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """Ends of links paired at random, repaired where a pair is a loop or comes twice."""
        size = len(roster)
        self._check(size)
        found = until_connected(lambda number: self._draw(size, seed, number))
        if found is None:
            raise BadInput(
                f"topology: random-regular found no connected graph of degree {self.degree} on {size} agents in "
                f"{TRIES} tries. Take degree 3 or more."
            )
        return found

    def _check(self, size: int) -> None:
        if size <= self.degree:
            raise BadInput(
                f"topology: random-regular of degree {self.degree} takes {self.degree + 1} agents or more, but there "
                f"are {size}. Lower degree, or take complete."
            )
        if size * self.degree % 2:
            raise BadInput(
                f"topology: random-regular joins the {size * self.degree} link ends of {size} agents of degree "
                f"{self.degree} in pairs, and their number is odd. Take an even degree, or one agent more or less."
            )

    def _draw(self, size: int, seed: int, number: int) -> Graph:
        chance = stream(seed, self.name, size, number)
        if 2 * self.degree < size:
            return Graph.undirected(size, regular_edges(size, self.degree, chance))
        # pairing hardly ever works on dense graphs, but what a dense graph leaves out is sparse
        apart = regular_edges(size, size - 1 - self.degree, chance)
        joined = pairs_within([range(size)])
        codes = apart.min(1) * size + apart.max(1)
        return Graph.undirected(size, joined[~np.isin(joined[:, 0] * size + joined[:, 1], codes)])


def regular_edges(size: int, degree: int, chance: np.random.Generator) -> Ints:
    """Edges [size * degree / 2, 2] of a simple graph in which every agent has `degree` of them.

    Random pairs of link ends; a loop or a repeated pair swaps ends with a random other pair until none is left.
    2 degree < size makes sure that there is always a pair to swap with.
    """
    ends = chance.permutation(np.repeat(np.arange(size), degree)).reshape(-1, 2).tolist()
    count: dict[tuple[int, int], int] = {}
    for one, two in ends:
        count[_edge(one, two)] = count.get(_edge(one, two), 0) + 1
    for place in range(len(ends)):
        while ends[place][0] == ends[place][1] or count[_edge(*ends[place])] > 1:
            other, turned = divmod(int(chance.integers(2 * len(ends))), 2)
            ends[other].sort(reverse=bool(turned))
            _swap(ends, count, place, other)
    return np.array(ends, np.int64).reshape(-1, 2)


def _swap(ends: list[list[int]], count: dict[tuple[int, int], int], place: int, other: int) -> None:
    """Swap the second ends of two pairs where that joins whom nothing joins yet."""
    (one, two), (three, four) = ends[place], ends[other]
    new = _edge(one, four), _edge(three, two)
    if one == four or three == two or any(count.get(edge) for edge in new):
        return
    for edge in (_edge(one, two), _edge(three, four)):
        count[edge] -= 1
    for edge in new:
        count[edge] = count.get(edge, 0) + 1
    ends[place], ends[other] = [one, four], [three, two]


def _edge(one: int, two: int) -> tuple[int, int]:
    return (one, two) if one < two else (two, one)
