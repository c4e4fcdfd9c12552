"""Links and speeds on a virtual clock: how long a run would take on machines that are not there.

Each agent has an uplink and a downlink of its own. Messages of an exchange leave one after the other, travel for the
latency of both ends, and enter one after the other in the order of their arrival; a message enters while it leaves.
"""

from __future__ import annotations

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

    def compute(self, gradients: npt.NDArray[np.int64]) -> None:
        """Each agent takes so many gradients [n]."""
        self.free += gradients * self.links.seconds_per_gradient / self.speeds

    def exchange(self, source: Ints, target: Ints, size: Ints) -> None:
        """Messages over arcs; each receiver goes on when its last message is there."""
        if not len(source):
            return
        rate = self.links.bandwidth_mbps * 1e6 / 8
        begin, end = self._uploads(source, size, rate)
        travel = 2 * self.links.latency_ms / 1000
        free = self.free.copy()
        order = np.lexsort((begin, target))
        downlink, last = -1, 0.0
        for arc in order:
            receiver = int(target[arc])
            if receiver != downlink:
                downlink, last = receiver, 0.0
            last = max(max(last, begin[arc] + travel) + size[arc] / rate, end[arc] + travel)
            free[receiver] = max(free[receiver], last)
        self.free = free

    def _uploads(self, source: Ints, size: Ints, rate: float) -> tuple[Floats, Floats]:
        """When each message begins and ends to leave its sender."""
        begin, end = np.zeros(len(source)), np.zeros(len(source))
        order = np.argsort(source, kind="stable")
        sender, last = -1, 0.0
        for arc in order:
            if int(source[arc]) != sender:
                sender, last = int(source[arc]), float(self.free[source[arc]])
                begin[arc], end[arc] = last, last + size[arc] / rate
            elif self.links.via == "broker":
                begin[arc], end[arc] = last, last + size[arc] / rate
                continue
            else:
                begin[arc], end[arc] = last, last + size[arc] / rate
            last = last if self.links.via == "broker" else end[arc]
        return begin, end
