"""Cliques: groups in which all pairs are joined."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from edgekit.decentralized.graph import Ints


def pairs_within(groups: Iterable[Sequence[int] | Ints]) -> Ints:
    """All pairs of each group, [edges, 2].

    >>> pairs_within([(0, 1, 2), (3, 4)]).tolist()
    [[0, 1], [0, 2], [1, 2], [3, 4]]
    """
    parts = [np.zeros((0, 2), np.int64)]
    for group in groups:
        parts.append(np.asarray(group, np.int64)[np.stack(np.triu_indices(len(group), 1), axis=1)])
    return np.concatenate(parts)


def even_parts(members: Sequence[int] | Ints, most: int) -> list[Ints]:
    """Consecutive groups of at most `most` members, whose sizes differ by one at most."""
    array = np.asarray(members, np.int64)
    return np.array_split(array, max(1, math.ceil(len(array) / most)))
