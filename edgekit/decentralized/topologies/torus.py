"""A torus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.sizes import nearest
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Torus(Topology):
    """Agents on a grid whose edges are joined: each speaks with the four around it.

    From 3 x 3 on, W has 1/5 each and lambda_2 = 3/5 + 2/5 cos(2 pi / the longer side). rows: null makes the grid as
    square as the number of agents allows.
    """

    rows: int | None = None

    name: ClassVar[str] = "torus"

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 1:
            raise BadInput(
                f"torus: rows is {self.rows}. Give 1 or more, or null for a grid that is nearly square."
            )

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """(r, c) - (r + 1, c) and (r, c + 1), modulo rows and columns."""
        size = len(roster)
        grid = np.arange(size).reshape(self.shape(size))
        links = [np.stack([grid, np.roll(grid, -1, axis)], axis=-1).reshape(-1, 2) for axis in (0, 1)]
        return Graph.undirected(size, np.concatenate(links))

    def shape(self, agents: int) -> tuple[int, int]:
        """(rows, columns); BadInput where the agents do not fill a grid."""
        if not self._fits(agents):
            wanted = f"{self.rows} rows" if self.rows else "a grid of 2 or more rows and columns"
            sizes = nearest(agents, self._fits)
            raise BadInput(
                f"topology: {agents} agents do not fill {wanted} of a torus. Take {sizes}, or a ring."
            )
        rows = self.rows or _largest_divisor(agents)
        return rows, agents // rows

    def _fits(self, agents: int) -> bool:
        return agents % self.rows == 0 if self.rows else agents == 1 or _largest_divisor(agents) > 1


def _largest_divisor(count: int) -> int:
    """The largest divisor up to the square root."""
    return next(rows for rows in range(max(1, math.isqrt(count)), 0, -1) if count % rows == 0)
