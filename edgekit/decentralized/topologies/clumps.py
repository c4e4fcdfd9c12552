"""Clumps: points sorted by direction, with k-means on the sphere."""

from __future__ import annotations

import numpy as np

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.roster import Floats

RESTARTS, STEPS, MOST = 8, 50, 10


def clumps(points: Floats, count: int | None, chance: np.random.Generator) -> Ints:
    """The clump [n] of each point [n, k], by cosine distance; None chooses up to 10 clumps by their silhouette."""
    units = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), np.finfo(float).tiny)
    if count is not None:
        return _k_means(units, count, chance)
    found = [_k_means(units, number, chance) for number in range(2, min(MOST, len(units) - 1) + 1)]
    if not found:
        return np.zeros(len(units), np.int64)
    distances = 1 - units @ units.T
    return max(found, key=lambda labels: silhouette(distances, labels))


def silhouette(distances: Floats, labels: Ints) -> float:
    """Mean of (b - a)/max(a, b): a the mean distance to one's own clump, b to the nearest other. Rousseeuw, 1987.

    1 where clumps are tight and far apart; a point alone counts 0, and so does one clump. distances [n, n], labels [n].
    """
    member = labels[:, None] == np.unique(labels)[None]
    sizes, sums = member.sum(0), distances @ member
    own = (sums * member).sum(1) / np.maximum((sizes * member).sum(1) - 1, 1)
    if len(sizes) == 1:
        return 0.0
    other = np.where(member, np.inf, sums / sizes).min(1)
    alone = (sizes * member).sum(1) == 1
    scale = np.maximum(np.maximum(own, other), np.finfo(float).tiny)
    return float(np.where(alone, 0.0, (other - own) / scale).mean())


def _k_means(units: Floats, count: int, chance: np.random.Generator) -> Ints:
    """The tightest of some runs from different starts."""
    runs = [_run(units, _start(units, count, chance)) for _ in range(RESTARTS)]
    return max(runs, key=lambda run: run[1])[0]


def _start(units: Floats, count: int, chance: np.random.Generator) -> Floats:
    """Points as centres, the far ones preferred (k-means++; Arthur and Vassilvitskii, 2007)."""
    chosen = [int(chance.integers(len(units)))]
    while len(chosen) < count:
        far = np.maximum(1 - (units @ units[chosen].T).max(1), 0)
        far[chosen] = 0
        total = far.sum()
        # points that all coincide with a centre have no far one; any that is left will do
        odds = (
            far / total
            if total > 0
            else np.isin(np.arange(len(units)), chosen, invert=True) / (len(units) - len(chosen))
        )
        chosen.append(int(chance.choice(len(units), p=odds)))
    return units[chosen]


def _run(units: Floats, centres: Floats) -> tuple[Ints, float]:
    """(labels, sum of cosines to the centres) after steps of assigning points and moving centres."""
    labels = np.argmax(units @ centres.T, axis=1)
    for _ in range(STEPS):
        sums = (labels[:, None] == np.arange(len(centres))[None]).T.astype(float) @ units
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, np.finfo(float).tiny), centres)
        moved = np.argmax(units @ centres.T, axis=1)
        if np.array_equal(moved, labels):
            break
        labels = moved
    return labels.astype(np.int64), float((units * centres[labels]).sum())
