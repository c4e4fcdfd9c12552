"""A graph taken apart into matchings: edges of one colour share no agent."""

from __future__ import annotations

from itertools import count, pairwise

import numpy as np

from edgekit.decentralized.graph import Graph, Ints


def matchings(graph: Graph) -> list[Ints]:
    """At most (largest degree + 1) sets of edges [m, 2], in each of which no agent occurs twice.

    Misra and Gries, 1992.

    >>> [edges.tolist() for edges in matchings(Graph.undirected(4, [(0, 1), (1, 2), (2, 3), (3, 0)]))]
    [[[0, 1], [2, 3]], [[0, 3], [1, 2]]]
    """
    colouring = _Colouring(graph.size, int(graph.degrees.max()) + 1 if graph.size else 0)
    lower = graph.source < graph.target
    for one, two in zip(graph.source[lower].tolist(), graph.target[lower].tolist(), strict=True):
        colouring.add(one, two)
    found: dict[int, list[tuple[int, int]]] = {}
    for edge, colour in sorted(colouring.colour.items()):
        found.setdefault(colour, []).append(edge)
    return [np.array(found[colour], np.int64) for colour in sorted(found)]


class _Colouring:
    """Colours of edges, none twice at an agent; `other[a][c]` is the far end of a's edge of colour c."""

    def __init__(self, size: int, most: int) -> None:
        self.most = most
        self.other: list[dict[int, int]] = [{} for _ in range(size)]
        self.colour: dict[tuple[int, int], int] = {}

    def add(self, centre: int, first: int) -> None:
        """Colour an edge, by turning a fan of the centre's edges where its ends have no colour free in common."""
        used = self.other[centre].keys() | self.other[first].keys()
        free = next(colour for colour in count() if colour not in used)
        if free < self.most:
            return self._give(centre, first, free)
        fan = self._fan(centre, first)
        own, last = self._free(centre), self._free(fan[-1])
        self._flip(centre, own, last)
        end = next(place for place, agent in enumerate(fan) if last not in self.other[agent])
        self._turn(centre, fan[: end + 1], last)

    def _fan(self, centre: int, first: int) -> list[int]:
        """Neighbours, beginning with `first`, each joined by a colour that is free at the one before."""
        fan, left = [first], dict(self.other[centre])
        while True:
            colour = next((colour for colour in sorted(left) if colour not in self.other[fan[-1]]), None)
            if colour is None:
                return fan
            fan.append(left.pop(colour))

    def _free(self, agent: int) -> int:
        return next(colour for colour in count() if colour not in self.other[agent])

    def _flip(self, agent: int, own: int, last: int) -> None:
        """Swap two colours along the path of both that begins at an agent, so that `last` is free there."""
        path, colour = [agent], last
        while colour in self.other[path[-1]]:
            path.append(self.other[path[-1]][colour])
            colour = own if colour == last else last
        edges = list(pairwise(path))
        colours = [self._take(*edge) for edge in edges]
        for edge, old in zip(edges, colours, strict=True):
            self._give(*edge, own if old == last else last)

    def _turn(self, centre: int, fan: list[int], colour: int) -> None:
        """Every edge of the fan takes the colour of the next, and the last the free one."""
        colours = [self._take(centre, agent) for agent in fan[1:]] + [colour]
        for agent, new in zip(fan, colours, strict=True):
            self._give(centre, agent, new)

    def _take(self, one: int, two: int) -> int:
        colour = self.colour.pop((min(one, two), max(one, two)))
        del self.other[one][colour], self.other[two][colour]
        return colour

    def _give(self, one: int, two: int, colour: int) -> None:
        self.colour[min(one, two), max(one, two)] = colour
        self.other[one][colour], self.other[two][colour] = two, one
