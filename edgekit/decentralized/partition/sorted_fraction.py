"""A part of each class sorted by label, the rest shuffled: skew by degrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.partition.labels import by_class, required
from edgekit.decentralized.partition.partition import Column, Partition, Shares
from edgekit.decentralized.partition.shares import united
from edgekit.errors import BadInput


@dataclass(frozen=True)
class SortedFraction(Partition):
    """A `fraction` of each class is sorted by label and dealt out in order, the rest is shuffled and dealt equally.

    1 is fully sorted, 0 is iid; shares differ by one sample at most. With n agents and n equal classes, agents hold
    1/n + fraction (1 - 1/n) of one class: a mean L1 distance to all labels of 2 fraction (1 - 1/n).
    """

    fraction: float = 1.0

    name: ClassVar[str] = "sorted_fraction"
    source: ClassVar[str] = "Hsieh, Phanishayee, Mutlu and Gibbons, 2020"
    by_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise BadInput(f"sorted_fraction: fraction is {self.fraction:g}. Give a number from 0 to 1.")

    def divide(self, labels: Column, agents: int, seed: int, groups: Column = None) -> Shares:
        """The sorted part and the shuffled rest in consecutive parts; large ones go with small ones."""
        classes = by_class(required(labels, agents, self.name), chance := self.chance(seed))
        cuts = [round(self.fraction * len(members)) for members in classes]
        in_order = np.concatenate([members[:cut] for members, cut in zip(classes, cuts, strict=True)])
        rest = np.concatenate([members[cut:] for members, cut in zip(classes, cuts, strict=True)])
        first = np.array_split(in_order, agents)
        second = np.array_split(chance.permutation(rest), agents)[::-1]
        return [united(pair) for pair in zip(first, second, strict=True)]
