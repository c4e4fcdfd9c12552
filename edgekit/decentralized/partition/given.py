"""Shares that were saved before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgekit.decentralized.partition import labels as known
from edgekit.decentralized.partition.partition import Column, Partition, Shares
from edgekit.decentralized.partition.shares import check, load
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Given(Partition):
    """The shares in the .npz file `path`: arrays agent_0, agent_1, ... of sample indices, such as a run saves.

    Samples that are in no array stay unused.
    """

    path: Path

    name: ClassVar[str] = "given"
    source: ClassVar[str] = "own"
    complete: ClassVar[bool] = False
    drawn: ClassVar[bool] = False

    def divide(self, labels: Column, agents: int, seed: int, groups: Column = None) -> Shares:
        """What the file says; BadInput where it is of another number of agents, or does not fit the samples."""
        size = known.samples(labels, groups, agents, self.name)
        shares = load(self.path)
        if len(shares) != agents:
            raise BadInput(
                f"partition: '{self.path}' has shares of {len(shares)} agents, but the run has {agents}. Use "
                f"{len(shares)} agents."
            )
        check(shares, size, f"partition: '{self.path}'")
        return shares
