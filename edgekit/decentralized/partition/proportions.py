"""Classes divided by proportions that are drawn from a Dirichlet distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.partition.labels import by_class
from edgekit.errors import BadInput

TRIES = 1000


def check(alpha: float, min_size: int, name: str) -> None:
    """Raise BadInput unless alpha and min_size can be drawn with."""
    if not 0 < alpha < math.inf:
        raise BadInput(f"{name}: alpha is {alpha:g}. Give a number above 0, such as 0.1.")
    if min_size < 1:
        raise BadInput(f"{name}: min_size is {min_size}. Give 1 or more samples.")


def pools(
    labels: Ints, heads: Ints, chance: np.random.Generator, *, alpha: float, min_size: int, name: str
) -> list[Ints]:
    """The samples of each pool, unordered; pool j is for heads[j] agents, each of which needs min_size samples.

    For each class, proportions over the pools ~ Dir(alpha, ..., alpha). BadInput where 1000 draws leave too few.
    """
    agents = int(heads.sum())
    if min_size * agents > len(labels):
        raise BadInput(
            f"partition: {name} cannot give {agents} agents min_size = {min_size} of {len(labels)} samples. Lower "
            f"min_size to {len(labels) // agents} or less, or use fewer agents."
        )
    members = by_class(labels, chance)
    counts = draw(np.array([len(own) for own in members]), min_size * heads, alpha, chance)
    if counts is None:
        raise BadInput(
            f"partition: in {TRIES} draws of {name} with alpha {alpha:g}, some of {agents} agents always had fewer "
            f"than min_size = {min_size} samples. Raise alpha, lower min_size, or use fewer agents."
        )
    return handed(members, counts)


def draw(sizes: Ints, least: Ints, alpha: float, chance: np.random.Generator) -> Ints | None:
    """Counts [classes, pools] of classes of `sizes` samples, drawn anew until pool j gets least[j]; None after 1000."""
    for _ in range(TRIES):
        counts = once(sizes, len(least), alpha, chance)
        if (counts.sum(0) >= least).all():
            return counts
    return None


def once(sizes: Ints, count: int, alpha: float, chance: np.random.Generator) -> Ints:
    """One draw of counts [classes, count], whose rows sum to `sizes`."""
    proportions = chance.dirichlet(np.full(count, alpha), len(sizes))
    ends = np.rint(np.cumsum(proportions, axis=1) * sizes[:, None]).astype(np.int64)
    ends = np.minimum(ends, sizes[:, None])
    ends[:, -1] = sizes
    return np.diff(ends, axis=1, prepend=0)


def handed(members: Sequence[Ints], counts: Ints) -> list[Ints]:
    """What each pool gets, from the members of each class and the counts [classes, pools]."""
    parts = [np.split(own, np.cumsum(row)[:-1]) for own, row in zip(members, counts, strict=True)]
    return [np.concatenate(own) for own in zip(*parts, strict=True)]
