"""A few whole classes for each agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.partition.labels import by_class, required
from edgekit.decentralized.partition.partition import Column, Partition, Shares
from edgekit.decentralized.partition.shares import united
from edgekit.errors import BadInput


@dataclass(frozen=True)
class ClassesPerAgent(Partition):
    """Each agent holds exactly `classes` classes; the samples of a class are split evenly among its holders.

    Numbers of holders differ by one at most. 1 is the hardest skew there is: one class an agent.
    """

    classes: int = 1

    name: ClassVar[str] = "classes_per_agent"
    source: ClassVar[str] = "Bellet, Kermarrec and Lavoie, 2022; Li, Diao, Chen and He, 2022"
    by_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise BadInput(f"classes_per_agent: classes is {self.classes}. Give 1 or more classes an agent.")

    def divide(self, labels: Column, agents: int, seed: int, groups: Column = None) -> Shares:
        """Agents choose among the classes with fewest holders; BadInput where a class would have none or too many."""
        chance = self.chance(seed)
        members = by_class(required(labels, agents, self.name), chance)
        self._check(len(members), agents)
        held = self._choose(len(members), agents, chance)
        parts: list[list[Ints]] = [[] for _ in range(agents)]
        for own, holders in zip(members, held.T, strict=True):
            self._split(own, np.flatnonzero(holders), parts)
        return [united(part) for part in parts]

    def _check(self, count: int, agents: int) -> None:
        if self.classes > count:
            raise BadInput(
                f"partition: classes_per_agent wants {self.classes} classes an agent, but there are {count}. Lower "
                "classes."
            )
        if self.classes * agents < count:
            raise BadInput(
                f"partition: classes_per_agent leaves {count - self.classes * agents} of {count} classes without an "
                f"agent, with {agents} agents of {self.classes} each. Raise classes to {-(-count // agents)}, or use "
                f"{-(-count // self.classes)} agents or more."
            )

    def _choose(self, count: int, agents: int, chance: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Who holds which class, [agents, count]."""
        held = np.zeros((agents, count), np.bool_)
        for agent in range(agents):
            fewest = np.lexsort((chance.random(count), held.sum(0)))[: self.classes]
            held[agent, fewest] = True
        return held

    def _split(self, own: Ints, holders: Ints, parts: list[list[Ints]]) -> None:
        if len(own) < len(holders):
            raise BadInput(
                f"partition: classes_per_agent gives {len(holders)} agents a class that has {len(own)} samples. Use "
                "fewer agents, or lower classes."
            )
        for agent, part in zip(holders.tolist(), np.array_split(own, len(holders)), strict=True):
            parts[agent].append(part)
