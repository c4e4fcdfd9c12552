"""Equal shares at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.decentralized.partition import labels as known
from edgekit.decentralized.partition.partition import Column, Partition, Shares
from edgekit.decentralized.partition.shares import dealt


@dataclass(frozen=True)
class Iid(Partition):
    """All samples shuffled and dealt out in equal shares, which differ by one sample at most."""

    name: ClassVar[str] = "iid"
    source: ClassVar[str] = "McMahan, Moore, Ramage, Hampson and Aguera y Arcas, 2017"

    def divide(self, labels: Column, agents: int, seed: int, groups: Column = None) -> Shares:
        """A random permutation of all samples in consecutive parts."""
        size = known.samples(labels, groups, agents, self.name)
        return dealt(self.chance(seed).permutation(size), agents)
