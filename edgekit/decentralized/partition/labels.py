"""The labels that samples are divided by: checked, and gathered by class."""

from __future__ import annotations

import numpy as np

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.partition.partition import Column
from edgekit.errors import BadInput


def required(labels: Column, agents: int, name: str) -> Ints:
    """The labels as int64 [n]; BadInput where there are none, where they are no classes, or too few for the agents."""
    if labels is None:
        raise BadInput(
            f"partition: {name} divides samples by their label, and these data have none. Use labelled data, or choose "
            "iid."
        )
    values = np.asarray(labels)
    if values.ndim != 1 or values.dtype.kind not in "iub":
        raise BadInput(
            f"partition: {name} needs one class a sample as a whole number, but the labels are {values.dtype} "
            f"{list(values.shape)}. Use data with classes, or choose iid."
        )
    enough(len(values), agents, name)
    return values.astype(np.int64)


def samples(labels: Column, groups: Column, agents: int, name: str) -> int:
    """How many samples there are, by their labels or their groups; BadInput where they are too few for the agents."""
    known = labels if labels is not None else groups
    if known is None:
        raise BadInput(f"partition: {name} cannot tell how many samples there are. Give labels or groups.")
    enough(len(known), agents, name)
    return len(known)


def enough(count: int, agents: int, name: str) -> None:
    """Raise BadInput unless each of the agents can have a sample."""
    if agents < 1:
        raise BadInput(f"partition: {name} divides over {agents} agents. Give 1 or more.")
    if count < agents:
        raise BadInput(
            f"partition: {name} has {count} samples for {agents} agents, so that some would get none. Use at most "
            f"{count} agents, or more data."
        )


def sorted_by_label(labels: Ints, chance: np.random.Generator) -> Ints:
    """All indices in order of their label, in random order within a label."""
    order = chance.permutation(len(labels))
    return order[np.argsort(labels[order], kind="stable")]


def by_class(labels: Ints, chance: np.random.Generator) -> list[Ints]:
    """The indices of each class that occurs, in random order.

    >>> [sorted(members.tolist()) for members in by_class(np.array([2, 0, 2, 0]), np.random.default_rng(0))]
    [[1, 3], [0, 2]]
    """
    order = sorted_by_label(labels, chance)
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
