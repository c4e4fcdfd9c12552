"""Links and speeds on a virtual clock: how long a run would take on machines that are not there.

Each agent has an uplink and a downlink of its own, which the messages of an exchange share evenly. A message enters
while it leaves, later by the latency of both ends, so an agent has all its messages when the slowest sender has sent
all of its own, and no sooner than its downlink can carry them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.keys import stream
from edgekit.decentralized.roster import Floats
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Links:
    """bandwidth_mbps: of each agent's uplink and downlink, 10^6 bit/s; latency_ms: of each end, one way.

    via "direct": every receiver takes an upload of its own; via "broker": what goes to several receivers is uploaded
    once, and the broker hands it on. seconds_per_gradient: of an agent of speed 1; speeds: the slowest and the fastest
    relative speed, drawn evenly in between.
    """

    bandwidth_mbps: float = 100.0
    latency_ms: float = 1.0
    via: Literal["direct", "broker"] = "direct"
    seconds_per_gradient: float = 0.0
    speeds: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if self.bandwidth_mbps <= 0:
            raise BadInput(f"links: bandwidth_mbps is {self.bandwidth_mbps:g}. Give a rate above 0.")
        if self.latency_ms < 0 or self.seconds_per_gradient < 0:
            raise BadInput("links: latency_ms and seconds_per_gradient are times. Give 0 or more.")
        if not 0 < self.speeds[0] <= self.speeds[1]:
            raise BadInput(
                "links: speeds are [slowest, fastest]. Give two numbers above 0, the smaller first."
            )

    def speed_of(self, agent: int, seed: int) -> float:
        """The relative speed of an agent."""
        low, high = self.speeds
        return low + (high - low) * float(stream(seed, "speed", agent).random())


@dataclass
class VirtualClock:
    """When each agent is free [n], in seconds since the start."""

    links: Links
    speeds: Floats
    free: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.free = np.zeros(len(self.speeds))

    @property
    def seconds(self) -> float:
        """When the last agent is free."""
        return float(self.free.max()) if len(self.free) else 0.0

    def among(self, speeds: Floats, before: Sequence[int | None]) -> VirtualClock:
        """The clock of other agents: of each its place `before`, or None for one that joins when all are free."""
        clock = VirtualClock(self.links, speeds)
        clock.free[:] = [self.seconds if place is None else self.free[place] for place in before]
        return clock

    def compute(self, gradients: npt.NDArray[np.int64]) -> None:
        """Each agent takes so many gradients [n]."""
        self.free += gradients * self.links.seconds_per_gradient / self.speeds

    def exchange(self, source: Ints, target: Ints, size: Ints, *, shared: bool) -> None:
        """Messages over arcs, `shared` where a sender sends all its receivers the same.

        i is free at max(max_j up_j + travel, max_k begin_k + sum of the sizes that begin at k or later / rate), with
        up_j when j's uplink is through and begin_k when the k-th of i's messages begins to arrive.
        """
        if not len(source):
            return
        rate, travel = self.links.bandwidth_mbps * 1e6 / 8, 2 * self.links.latency_ms / 1000
        through = self.free + self._uploads(source, size, shared) / rate
        begin = self.free[source] + travel
        order = np.lexsort((-begin, target))
        receiver, sizes, begin = target[order], size[order], begin[order]
        first = np.flatnonzero(np.diff(receiver, prepend=-1))
        total = np.cumsum(sizes)
        later = total - np.repeat(total[first] - sizes[first], np.diff(first, append=len(order)))
        done = np.maximum(begin + later / rate, through[source[order]] + travel)
        free = self.free.copy()
        np.maximum.at(free, receiver, done)
        self.free = free

    def _uploads(self, source: Ints, size: Ints, shared: bool) -> Floats:
        """Bytes that each agent's uplink carries [n]: every message, or a shared one once through a broker."""
        if shared and self.links.via == "broker":
            largest = np.zeros(len(self.free))
            np.maximum.at(largest, source, size)
            return largest
        return np.bincount(source, size, len(self.free)).astype(np.float64)
