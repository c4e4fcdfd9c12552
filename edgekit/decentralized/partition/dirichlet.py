"""Classes divided by proportions from a Dirichlet distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.partition.labels import required
from edgekit.decentralized.partition.partition import Column, Partition, Shares
from edgekit.decentralized.partition.proportions import check, pools


@dataclass(frozen=True)
class Dirichlet(Partition):
    """The proportions of each class over the agents are drawn from Dir(alpha): small is skewed, large is near iid.

    Both labels and sizes of shares differ. Drawn anew until each agent has `min_size` samples, 1000 times at most.
    """

    alpha: float = 0.1
    min_size: int = 10

    name: ClassVar[str] = "dirichlet"
    source: ClassVar[str] = "Hsu, Qi and Brown, 2019; by class as Yurochkin et al., 2019"
    by_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self.alpha, self.min_size, self.name)

    def divide(self, labels: Column, agents: int, seed: int, groups: Column = None) -> Shares:
        """For each class c, proportions q_c ~ Dir(alpha, ..., alpha) over the agents."""
        values, each = required(labels, agents, self.name), np.ones(agents, np.int64)
        found = pools(
            values, each, self.chance(seed), alpha=self.alpha, min_size=self.min_size, name=self.name
        )
        return [np.sort(pool) for pool in found]
