"""A hierarchy of groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.cliques import even_parts, pairs_within
from edgekit.decentralized.topology import Groups, Topology
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Hierarchical(Topology):
    """Groups of up to `branch` agents, complete within; their leaders form such groups again, up to one at the top.

    Suits sites: many links within each, few between. The leader of a group is its first agent; the groups are those
    of the lowest level.
    """

    branch: int = 4

    name: ClassVar[str] = "hierarchical"

    def __post_init__(self) -> None:
        if self.branch < 2:
            raise BadInput(f"hierarchical: branch is {self.branch}. Give 2 or more agents a group.")

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """All pairs of each group of each level."""
        members, edges = np.arange(len(roster)), []
        while len(members) > 1:
            level = even_parts(members, self.branch)
            edges.append(pairs_within(level))
            members = np.array([group[0] for group in level])
        return Graph.undirected(len(roster), np.concatenate([np.zeros((0, 2), np.int64), *edges]))

    def groups(self, roster: Roster, round: int, seed: int) -> Groups:
        """The groups of the lowest level."""
        return tuple(tuple(group.tolist()) for group in even_parts(np.arange(len(roster)), self.branch))
