"""A hypercube."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.sizes import nearest
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Hypercube(Topology):
    """n = 2^d agents; each speaks with the d whose number differs in one bit: lambda_2 = (d - 1)/(d + 1)."""

    name: ClassVar[str] = "hypercube"

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """i - i xor 2^k."""
        size = len(roster)
        if not _power_of_two(size):
            raise BadInput(
                f"topology: a hypercube takes a power of two, but there are {size} agents. Take "
                f"{nearest(size, _power_of_two)}, or exponential, which takes any number."
            )
        agents = np.arange(size)
        links = [np.stack([agents, agents ^ (1 << bit)], axis=1) for bit in range(size.bit_length() - 1)]
        return Graph.undirected(size, np.concatenate([np.zeros((0, 2), np.int64), *links]))


def _power_of_two(count: int) -> bool:
    return count > 0 and count & (count - 1) == 0
