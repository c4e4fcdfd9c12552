"""Labels that go with resources: what weak agents hold, strong ones do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.partition.labels import required
from edgekit.decentralized.partition.partition import Column, Partition, Shares
from edgekit.decentralized.partition.proportions import check, pools
from edgekit.decentralized.partition.shares import dealt
from edgekit.errors import BadInput


@dataclass(frozen=True)
class ResourceCorrelated(Partition):
    """The proportions of each class over `groups` kinds of agents are drawn from Dir(alpha); agents of a kind are iid.

    Kinds stand for resources (rc-non-iid): agent i of n is of kind floor(i groups / n). Drawn anew, 1000 times at most,
    until each agent has `min_size` samples.
    """

    alpha: float = 0.1
    groups: int = 3
    min_size: int = 10

    name: ClassVar[str] = "resource_correlated"
    source: ClassVar[str] = "Pfeiffer, Rapp, Khalili and Henkel, 2023"
    by_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self.alpha, self.min_size, self.name)
        if self.groups < 1:
            raise BadInput(f"resource_correlated: groups is {self.groups}. Give 1 or more kinds of agents.")

    def kinds(self, agents: int) -> Ints:
        """The kind of each agent, [agents], from 0 to groups - 1.

        >>> ResourceCorrelated(groups=3).kinds(8).tolist()
        [0, 0, 0, 1, 1, 1, 2, 2]
        """
        return np.arange(agents) * self.groups // agents

    def divide(self, labels: Column, agents: int, seed: int, groups: Column = None) -> Shares:
        """For each class c, proportions q_c ~ Dir(alpha, ..., alpha) over the kinds; agents of a kind share equally."""
        values, chance = required(labels, agents, self.name), self.chance(seed)
        if agents < self.groups:
            raise BadInput(
                f"partition: resource_correlated has {self.groups} groups of agents, but there are {agents} agents. "
                f"Lower groups, or use {self.groups} agents or more."
            )
        heads = np.bincount(self.kinds(agents))
        found = pools(values, heads, chance, alpha=self.alpha, min_size=self.min_size, name=self.name)
        return [
            share
            for pool, count in zip(found, heads.tolist(), strict=True)
            for share in dealt(chance.permutation(pool), count)
        ]
