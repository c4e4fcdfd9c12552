"""The owners that the data name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.partition.labels import enough
from edgekit.decentralized.partition.partition import Column, Partition, Shares
from edgekit.decentralized.partition.shares import dealt, united
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Natural(Partition):
    """One agent for each owner that the data name, such as a speaker or a writer, in the order of their names.

    With k times as many agents as owners, k agents in a row share an owner's samples at random; with k times fewer,
    an agent holds k owners in a row.
    """

    name: ClassVar[str] = "natural"
    source: ClassVar[str] = "Caldas et al., 2018"
    drawn: ClassVar[bool] = False

    def divide(self, labels: Column, agents: int, seed: int, groups: Column = None) -> Shares:
        """The samples of each owner; BadInput unless the owners go evenly into the agents, or these into the owners."""
        owners = self._owners(labels, agents, groups)
        if len(owners) >= agents:
            return _dealt_whole(owners, agents)
        chance, each = self.chance(seed), agents // len(owners)
        for own in owners:
            if len(own) < each:
                raise BadInput(
                    f"partition: natural divides {len(own)} samples of one owner over {each} agents. Use "
                    f"{len(owners)} agents."
                )
        return [share for own in owners for share in dealt(chance.permutation(own), each)]

    def _owners(self, labels: Column, agents: int, groups: Column) -> list[Ints]:
        if groups is None:
            raise BadInput(
                "partition: natural divides samples by their owner, and these data name none. Use data with groups, "
                "such as fsdd, or choose dirichlet."
            )
        if labels is not None and len(labels) != len(groups):
            raise BadInput(
                f"partition: natural got {len(labels)} labels and {len(groups)} groups. Give one each."
            )
        enough(len(groups), agents, self.name)
        names, places = np.unique(_comparable(np.asarray(groups)), return_inverse=True)
        if len(names) % agents and agents % len(names):
            raise BadInput(
                f"partition: natural finds {len(names)} owners, which do not go evenly into {agents} agents. Use "
                f"{len(names)} agents, or a divisor or a multiple of {len(names)}."
            )
        return [np.flatnonzero(places == owner) for owner in range(len(names))]


def _dealt_whole(owners: list[Ints], agents: int) -> Shares:
    """Consecutive owners for each agent, as many for one as for another."""
    each = len(owners) // agents
    return [united(owners[first : first + each]) for first in range(0, len(owners), each)]


def _comparable(groups: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Objects of several types have no order; their texts have."""
    return groups.astype(str) if groups.dtype.kind == "O" else groups
