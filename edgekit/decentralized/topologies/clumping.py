"""Peer clumping: a ring on which neighbours hold different data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgekit.decentralized.graph import Graph, Ints
from edgekit.decentralized.keys import stream
from edgekit.decentralized.roster import Floats, Roster
from edgekit.decentralized.topologies.clumps import clumps
from edgekit.decentralized.topologies.remember import remember
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Clumping(Topology):
    """Agents whose proxies point the same way form clumps; a ring takes one of each clump in turn.

    The proxy stands for an agent's data, so that no label counts leave it. arrange: heterogeneous takes clumps in
    turn, homogeneous one clump after the other, random any order. clumps: null chooses up to 10 by their silhouette.
    """

    clumps: int | None = None
    arrange: Literal["heterogeneous", "homogeneous", "random"] = "heterogeneous"

    name: ClassVar[str] = "clumping"
    source: ClassVar[str] = "after Abebe and Jannesari, 2022"
    facts: ClassVar[tuple[str, ...]] = ("proxies",)

    def __post_init__(self) -> None:
        if self.clumps is not None and self.clumps < 1:
            raise BadInput(f"clumping: clumps is {self.clumps}. Give 1 or more, or null.")

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """A ring in the order of `order`."""
        order = self.order(roster, seed)
        return Graph.undirected(len(roster), np.stack([order, np.roll(order, -1)], axis=1))

    def order(self, roster: Roster, seed: int) -> Ints:
        """The agents around the ring [n]."""
        chance = stream(seed, self.name, "order", len(roster))
        shuffled = chance.permutation(len(roster))
        if self.arrange == "random":
            return shuffled
        found = self.clump_of(roster, seed)[shuffled]
        if self.arrange == "homogeneous":
            return shuffled[np.argsort(found, kind="stable")]
        return shuffled[np.lexsort((found, _turn(found)))]

    @remember
    def clump_of(self, roster: Roster, seed: int) -> Ints:
        """The clump of each agent [n]."""
        proxies = self._check(roster)
        return clumps(proxies, self.clumps, stream(seed, self.name, "clumps", len(roster)))

    def _check(self, roster: Roster) -> Floats:
        if roster.proxies is None:
            raise BadInput(
                "topology: clumping sorts agents by a proxy of their data, and the roster has no proxies. Use a run "
                "with a data set, or choose ring or random-regular."
            )
        if not np.isfinite(roster.proxies).all():
            raise BadInput(
                "topology: clumping got a proxy that is NaN or infinite. Look at that agent's data."
            )
        if self.clumps is not None and self.clumps > len(roster):
            raise BadInput(f"topology: {len(roster)} agents do not fill {self.clumps} clumps. Lower clumps.")
        return roster.proxies


def _turn(found: Ints) -> Floats:
    """Where on the ring [n], from 0 to 1, each agent lies so that every clump is spread evenly over it.

    Where clumps are equally large, agents with the same place come one of each clump.
    """
    places = np.zeros(len(found))
    for clump in np.unique(found):
        members = np.flatnonzero(found == clump)
        places[members] = (np.arange(len(members)) + 0.5) / len(members)
    return places
