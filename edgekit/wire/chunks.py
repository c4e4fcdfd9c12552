"""Chunks: messages put together from frames that come in any order, more than once, or never."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

import numpy as np

from edgekit.wire.frame import Frame, Head, Kind

RECENT: Final = 4096  # finished messages that are remembered, so that a repeat is not taken for a new one
# bytes that an unfinished message takes beside its chunks, and a chunk beside its payload: small ones count too
OF_MESSAGE: Final = 1024
OF_CHUNK: Final = 512

Identity = tuple[Kind, int, int, int, int, int]


class Assembler:
    """Gives each message once, when its last chunk is there.

    Messages above `limit` bytes are dropped at their first frame. Unfinished ones hold at most `memory` bytes: the
    oldest makes room. Of chunks that contradict each other, the first counts. Memory is taken for what came, never
    for what a header announces: a chunk is copied to its place at once, and pages that nothing was written to are
    not taken from the machine. `counts` says what was dropped: "duplicate", "too large", "contradictory" or
    "evicted".
    """

    def __init__(self, limit: int, memory: int) -> None:
        self.limit, self.memory, self.held = limit, memory, 0
        self.counts: Counter[str] = Counter()
        self._unfinished: OrderedDict[Identity, _Unfinished] = OrderedDict()
        self._finished: OrderedDict[Identity, None] = OrderedDict()

    def add(self, frame: Frame) -> memoryview | None:
        """The payload of the message that this frame completes, or None; of several chunks it is the caller's own."""
        identity = _identity(frame.head)
        if identity in self._finished:
            self.counts["duplicate"] += 1
            return None
        if frame.total > self.limit:
            self.counts["too large"] += 1
            return None
        message = self._unfinished.get(identity)
        if message is None:
            if frame.chunks == 1:
                self._remember(identity)
                return frame.payload
            message = self._unfinished[identity] = _Unfinished(frame)
            self.held += OF_MESSAGE
        return self._join(identity, message, frame)

    def missing(self, head: Head) -> list[int] | None:
        """The chunks that are not there yet, none of a message that was given; None where nothing of it is known."""
        identity = _identity(head)
        message = self._unfinished.get(identity)
        if message is None:
            return [] if identity in self._finished else None
        return [chunk for chunk in range(message.first.chunks) if chunk not in message.there]

    def forget(self, before: Callable[[Head], bool]) -> None:
        """Drop the unfinished messages for which `before` holds."""
        old = [identity for identity, message in self._unfinished.items() if before(message.first.head)]
        for identity in old:
            self._release(self._unfinished.pop(identity))

    def _join(self, identity: Identity, message: _Unfinished, frame: Frame) -> memoryview | None:
        if not message.fits(frame):
            self.counts["contradictory"] += 1
            return None
        if frame.chunk in message.there:
            self.counts["duplicate"] += 1
            return None
        self.held += message.put(frame)
        if len(message.there) == frame.chunks:
            self._release(self._unfinished.pop(identity))
            self._remember(identity)
            return message.content
        while self.held > self.memory:
            self._release(self._unfinished.popitem(last=False)[1])
            self.counts["evicted"] += 1
        return None

    def _release(self, message: _Unfinished) -> None:
        self.held -= message.size

    def _remember(self, identity: Identity) -> None:
        self._finished[identity] = None
        if len(self._finished) > RECENT:
            self._finished.popitem(last=False)


class _Unfinished:
    """The chunks of a message so far, and the frame that came first."""

    def __init__(self, first: Frame) -> None:
        self.first, self.stride, self.size = first, _stride(first), OF_MESSAGE
        self.there: set[int] = set()
        self.content = np.empty(first.total, np.uint8).data

    def put(self, frame: Frame) -> int:
        """Copy a chunk to its place; the bytes that it takes."""
        begin, taken = frame.chunk * self.stride, len(frame.payload) + OF_CHUNK
        self.content[begin : begin + len(frame.payload)] = frame.payload
        self.there.add(frame.chunk)
        self.size += taken
        return taken

    def fits(self, frame: Frame) -> bool:
        """Whether a frame can be of the same message as the first."""
        first = self.first
        return (
            frame.head == first.head
            and (frame.chunks, frame.total) == (first.chunks, first.total)
            and _stride(frame) == self.stride
        )


def _identity(head: Head) -> Identity:
    return head.kind, head.epoch, head.round, head.phase, head.stream, head.sender


def _stride(frame: Frame) -> int:
    """The length of all chunks but the last."""
    if frame.chunk < frame.chunks - 1:
        return len(frame.payload)
    return (frame.total - len(frame.payload)) // max(1, frame.chunks - 1)
