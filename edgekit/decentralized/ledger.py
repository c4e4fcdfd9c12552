"""What was sent: bytes and messages of every agent, and the arcs that carried them in the exchange at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgekit.decentralized.graph import Ints


class Clock(Protocol):
    """Where an exchange costs time."""

    def exchange(self, source: Ints, target: Ints, size: Ints, *, shared: bool) -> None:
        """Messages of `size` bytes over arcs, all at once; `shared` where a sender's are one and the same."""
        ...


@dataclass
class Ledger:
    """Cumulative, by position in the roster: payload bytes [n], each counted for every receiver, and messages [n]."""

    agents: int
    clock: Clock | None = None
    bytes: npt.NDArray[np.int64] = field(init=False)
    messages: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.bytes = np.zeros(self.agents, np.int64)
        self.messages = np.zeros(self.agents, np.int64)

    def send(self, source: Ints, target: Ints, size: Ints | int, *, shared: bool = False) -> None:
        """Count one exchange: a message of `size` bytes over each arc, `shared` where a sender sends all the same."""
        sizes = np.broadcast_to(np.asarray(size, np.int64), source.shape)
        np.add.at(self.bytes, source, sizes)
        np.add.at(self.messages, source, 1)
        if self.clock is not None:
            self.clock.exchange(source, target, sizes, shared=shared)
