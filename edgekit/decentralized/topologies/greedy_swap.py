"""Greedy swap: cliques whose labels together are distributed as those of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.roster import Floats
from edgekit.decentralized.topologies.cliques import even_parts

SLACK = 1e-12  # a swap that gains less gains nothing


def greedy_swap(histograms: Floats, size: int, swaps: int, chance: np.random.Generator) -> list[Ints]:
    """Cliques of at most `size` agents, from a random division and `swaps` tries to better it.

    A try draws two cliques and, among all pairs of a member of each whose swap lowers skew(C1) + skew(C2), one pair
    at random. histograms [n, classes]. Bellet, Kermarrec and Lavoie, 2022.
    """
    cliques = even_parts(chance.permutation(len(histograms)), size)
    counts = np.stack([histograms[clique].sum(0) for clique in cliques])
    whole = _parts(histograms.sum(0))
    for _ in range(swaps if len(cliques) > 1 else 0):
        one, two = chance.choice(len(cliques), 2, replace=False)
        _better(histograms, cliques, counts, whole, int(one), int(two), chance)
    return [np.sort(clique) for clique in cliques]


def skews(histograms: Floats, cliques: Sequence[Ints]) -> Floats:
    """skew(C) = sum over classes of |part of the class in C - its part in all|, of each clique; 0 is best, 2 worst."""
    counts = np.stack([histograms[clique].sum(0) for clique in cliques])
    return _skew(counts, _parts(histograms.sum(0)))


def _better(
    histograms: Floats,
    cliques: list[Ints],
    counts: Floats,
    whole: Floats,
    one: int,
    two: int,
    chance: np.random.Generator,
) -> None:
    """Swap a random pair of members of two cliques, among those that lower the sum of their skews."""
    change = histograms[cliques[two]][None] - histograms[cliques[one]][:, None]
    after = _skew(counts[one] + change, whole) + _skew(counts[two] - change, whole)
    before = _skew(counts[one], whole) + _skew(counts[two], whole)
    better = np.argwhere(after < before - SLACK)
    if len(better):
        i, j = better[chance.integers(len(better))]
        cliques[one][i], cliques[two][j] = cliques[two][j], cliques[one][i]
        counts[one] += change[i, j]
        counts[two] -= change[i, j]


def _skew(counts: Floats, whole: Floats) -> Floats:
    found: Floats = np.abs(_parts(counts) - whole).sum(-1)
    return found


def _parts(counts: Floats) -> Floats:
    """Each class as a part of all samples; zeros where there are none."""
    found: Floats = counts / np.maximum(counts.sum(-1, keepdims=True), np.finfo(float).tiny)
    return found
