"""Links between cliques: which cliques are joined, and by which of their members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from edgekit.decentralized.graph import Ints

Pairs = Iterator[tuple[Ints, Ints]]


def links_between(cliques: list[Ints], kind: str) -> Ints:
    """One edge for each pair of cliques that `kind` joins, [edges, 2].

    Each edge is held by the member of either clique that holds the fewest so far, so that the load is even.
    """
    load = np.zeros(1 + max((int(clique.max()) for clique in cliques), default=0), np.int64)
    edges = []
    for sides in PAIRS[kind](cliques):
        ends = [int(side[np.argmin(load[side])]) for side in sides]
        load[ends] += 1
        edges.append(ends)
    return np.array(edges, np.int64).reshape(-1, 2)


def _ring(cliques: list[Ints]) -> Pairs:
    yield from _joined(cliques, {(place, (place + 1) % len(cliques)) for place in range(len(cliques))})


def _complete(cliques: list[Ints]) -> Pairs:
    yield from combinations(cliques, 2)


def _small_world(cliques: list[Ints]) -> Pairs:
    """A ring of cliques, and links to those 2^s and 2^s + 1 further on."""
    count = len(cliques)
    steps = {2**power + more for power in range((count - 1).bit_length()) for more in (0, 1)}
    yield from _joined(cliques, {(place, (place + step) % count) for place in range(count) for step in steps})


def _fractal(cliques: list[Ints]) -> Pairs:
    """As many cliques as a clique has members are joined in pairs, such bundles again, and so on."""
    branch = max(2, *(len(clique) for clique in cliques), 2)
    while len(cliques) > 1:
        bundles = [cliques[place : place + branch] for place in range(0, len(cliques), branch)]
        for bundle in bundles:
            yield from combinations(bundle, 2)
        cliques = [np.concatenate(bundle) for bundle in bundles]


def _joined(cliques: list[Ints], pairs: set[tuple[int, int]]) -> Pairs:
    for one, two in sorted({(min(pair), max(pair)) for pair in pairs}):
        if one != two:
            yield cliques[one], cliques[two]


PAIRS: dict[str, Callable[[list[Ints]], Pairs]] = {
    "complete": _complete,
    "fractal": _fractal,
    "ring": _ring,
    "small-world": _small_world,
}
