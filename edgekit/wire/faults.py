"""A transport that loses, repeats, swaps, damages and delays frames: to try a setting before a bad link does."""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from edgekit.errors import BadInput
from edgekit.wire.transport import LinkInfo, Message, Transport

HOLD: Final = 0.05  # seconds that a frame waits for the one it swaps places with
OVERTIME: Final = 0.05  # seconds that reading may go on while there is something to read


@dataclass(frozen=True)
class Faults:
    """How often each thing happens to a frame: probabilities; delay: uniform between 0 and so many seconds."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    delay: float = 0.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name != "delay"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"faults: {name} is {getattr(self, name):g}. Give a probability, 0 to 1.")
        if not 0 <= self.delay < math.inf:
            raise BadInput(f"faults: delay is {self.delay:g}. Give seconds, 0 or more.")


class FaultyTransport:
    """Another transport, whose frames come with `faults`; documents, lines and links come as they are.

    A frame is dropped, or else corrupted (one bit flipped, or its end cut off), given once or twice, each copy after a
    delay of its own, and maybe after the next one. `counts` says what was done: "drop", "corrupt", "duplicate",
    "delay", "reorder".
    """

    def __init__(self, inner: Transport, faults: Faults, seed: int) -> None:
        self.inner, self.faults = inner, faults
        self.counts: Counter[str] = Counter()
        self._random = np.random.default_rng(seed)
        self._ready: deque[Message] = deque()
        # a heap of (due, number, whether it swaps with the next one, frame), and one that swaps: (until when, frame)
        self._late: list[tuple[float, int, bool, Message]] = []
        self._held: tuple[float, Message] | None = None
        self._number = 0

    @property
    def me(self) -> str:
        """The id of this agent."""
        return self.inner.me

    def open(self, will: bytes) -> LinkInfo:
        """Open the other."""
        return self.inner.open(will)

    def listen(self, senders: Collection[str], *, lines: bool = False) -> None:
        """Listen by the other."""
        self.inner.listen(senders, lines=lines)

    def make_room(self, size: int) -> None:
        """Make it in the other."""
        self.inner.make_room(size)

    def send(self, payload: bytes, to: str | None = None) -> bool:
        """Send by the other, unharmed: frames are harmed where they come in."""
        return self.inner.send(payload, to)

    def publish(self, name: str, document: bytes | None) -> None:
        """Publish by the other."""
        self.inner.publish(name, document)

    def close(self) -> None:
        """Close the other; what is late never comes."""
        self.inner.close()
        self._ready.clear()
        self._late.clear()
        self._held = None

    def receive(self, timeout: float) -> Message | None:
        """The next message, or None; frames that are due go first."""
        deadline = time.monotonic() + timeout
        while (message := self._next()) is None:
            wait = min(deadline, self._next_due()) - time.monotonic()
            message = self.inner.receive(max(0.0, wait))
            if message is not None and message.what != "frame":
                return message
            if message is not None:
                self._harm(message)
            overtime = time.monotonic() - deadline
            # what is there already is read though the time is up: it may be what comes after all that is dropped
            if overtime >= (0 if message is None else OVERTIME):
                return self._next()
        return message

    def _next(self) -> Message | None:
        self._release(time.monotonic())
        return self._ready.popleft() if self._ready else None

    def _next_due(self) -> float:
        late = self._late[0][0] if self._late else math.inf
        return late if self._held is None else min(late, self._held[0])

    def _harm(self, frame: Message) -> None:
        """Draw what happens to a frame, which is the same for the same frames in the same order."""
        faults = self.faults
        if self._happens("drop", faults.drop):
            return
        if frame.payload and self._happens("corrupt", faults.corrupt):
            frame = frame._replace(payload=self._corrupted(frame.payload))
        for _ in range(1 + self._happens("duplicate", faults.duplicate)):
            late = faults.delay * self._random.random()
            swaps = bool(self._random.random() < faults.reorder)
            self._number += 1
            self.counts["delay"] += late > 0
            heapq.heappush(self._late, (time.monotonic() + late, self._number, swaps, frame))

    def _happens(self, what: str, probability: float) -> bool:
        happens = bool(self._random.random() < probability)
        self.counts[what] += happens
        return happens

    def _corrupted(self, payload: bytes | bytearray) -> bytes:
        if self._random.random() < 0.5:
            return bytes(payload[: self._random.integers(len(payload))])
        damaged, bit = bytearray(payload), int(self._random.integers(8 * len(payload)))
        damaged[bit // 8] ^= 1 << bit % 8
        return bytes(damaged)

    def _release(self, now: float) -> None:
        """Make ready what is due, in order."""
        while self._late and self._late[0][0] <= now:
            due, _, swaps, frame = heapq.heappop(self._late)
            self._give_up(due)
            if self._held is not None:
                self._ready += (frame, self._held[1])
                self._held = None
                self.counts["reorder"] += 1
            elif swaps:
                self._held = (due + HOLD, frame)
            else:
                self._ready.append(frame)
        self._give_up(now)

    def _give_up(self, now: float) -> None:
        """Make ready the frame that is held, where none came to swap with."""
        if self._held is not None and self._held[0] <= now:
            self._ready.append(self._held[1])
            self._held = None
