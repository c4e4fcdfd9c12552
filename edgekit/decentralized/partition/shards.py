"""Shards of the sorted samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.partition.labels import required, sorted_by_label
from edgekit.decentralized.partition.partition import Column, Partition, Shares
from edgekit.decentralized.partition.shares import united
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Shards(Partition):
    """The samples sorted by label are cut into `per_agent` shards an agent, and each agent draws as many.

    An agent so holds about `per_agent` classes or fewer, one more for each shard that lies across a border of classes.
    """

    per_agent: int = 2

    name: ClassVar[str] = "shards"
    source: ClassVar[str] = "McMahan, Moore, Ramage, Hampson and Aguera y Arcas, 2017"
    by_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.per_agent < 1:
            raise BadInput(f"shards: per_agent is {self.per_agent}. Give 1 or more shards an agent.")

    def divide(self, labels: Column, agents: int, seed: int, groups: Column = None) -> Shares:
        """Equal shards of the sorted samples, drawn without replacement."""
        values, count = required(labels, agents, self.name), self.per_agent * agents
        if count > len(values):
            raise BadInput(
                f"partition: shards cuts {len(values)} samples into {count} shards, {self.per_agent} for each of "
                f"{agents} agents. Lower per_agent to {len(values) // agents} or less, or use fewer agents."
            )
        chance = self.chance(seed)
        cut = np.array_split(sorted_by_label(values, chance), count)
        hands = chance.permutation(count).reshape(agents, self.per_agent)
        return [united(cut[shard] for shard in hand) for hand in hands.tolist()]
