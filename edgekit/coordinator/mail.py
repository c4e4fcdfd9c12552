"""Whole messages of one run over a transport: cut into frames, put together again, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from time import monotonic
from typing import NamedTuple

from edgekit.wire.chunks import Assembler
from edgekit.wire.frame import BadFrame, Head, pack, packing, run_hash, unpack
from edgekit.wire.transport import LinkInfo, Message, Transport

LONGEST = 1 << 20  # bytes of a message, until it is known what a run sends
AT_ONCE = 256  # frames that are looked at before whoever asked is answered
MEMORY = 64 << 20  # bytes of unfinished messages, or as many of the longest as there are senders


class Letter(NamedTuple):
    """A whole message of another agent; `head.sender` is its number."""

    head: Head
    sender: str
    payload: memoryview


class Mail:
    """What one agent sends and receives in a run.

    numbers {number: id}: whom a header may name; a frame whose topic is another agent's than its header says is
    forged, and dropped. sent: bytes of all frames, each counted once however many listen; counts: frames that were
    dropped before they were decoded, by reason.
    """

    def __init__(self, transport: Transport, run: str, key: bytes | None) -> None:
        self.transport, self.run, self.key = transport, run_hash(run), key
        self.numbers: Mapping[int, str] = {}
        self.counts: Counter[str] = Counter()
        self.heard: dict[str, float] = {}  # when a frame of each sender came last
        self.sent, self.info = 0, LinkInfo(1 << 16, "closed")
        self._assembler = Assembler(LONGEST, MEMORY)

    def open(self, will: bytes) -> LinkInfo:
        """Connect."""
        self.info = self.transport.open(will)
        return self.info

    def bound(self, longest: int, senders: int) -> None:
        """No message is longer than this, and so many agents may be sending one, and the next, at a time."""
        self._assembler.limit = longest
        self._assembler.memory = max(MEMORY, 2 * longest * max(1, senders))
        self.transport.make_room(self._assembler.memory)

    def listen(self, senders: Collection[str]) -> None:
        """Hear what these agents send to all."""
        self.transport.listen(senders)

    def frames(self, head: Head, payload: bytes) -> list[bytes]:
        """The frames of a message."""
        return pack(head, payload, largest=self.info.largest, key=self.key)

    def post(self, head: Head, payload: bytes, to: str | None) -> list[bytes]:
        """Send a message to all who listen or to one agent, each frame while the next is made; its frames."""
        frames = []
        for frame in packing(head, payload, largest=self.info.largest, key=self.key):
            self.send((frame,), to)
            frames.append(frame)
        return frames

    def send(self, frames: Collection[bytes], to: str | None) -> bool:
        """Send frames to all who listen or to one agent; False where the link is down."""
        there = True
        for frame in frames:
            there = self.transport.send(frame, to) and there
            self.sent += len(frame)
        return there

    def receive(self, timeout: float) -> Letter | Message | None:
        """A whole message, a document, a line or a change of the link; None where nothing whole came in time."""
        for _ in range(AT_ONCE):
            message = self.transport.receive(timeout)
            if message is None or message.what != "frame":
                return message
            letter = self._whole(message)
            if letter is not None:
                return letter
            timeout = 0.0  # the rest of a message may be there already, and must not be waited for twice
        return None

    def _whole(self, message: Message) -> Letter | None:
        """The message that a frame completes."""
        try:
            frame = unpack(message.payload, self.key)
        except BadFrame as bad:
            self.counts[bad.reason.value] += 1
            return None
        head = frame.head
        if head.run != self.run:
            self.counts["another run"] += 1
        elif self.numbers.get(head.sender) != message.sender:
            self.counts["forged or unknown sender"] += 1
        else:
            self.heard[message.sender] = monotonic()
            whole = self._assembler.add(frame)
            if whole is not None:
                return Letter(head, message.sender, whole)
        return None

    def missing(self, head: Head) -> list[int]:
        """The chunks of a message that are to be asked for again; none means all."""
        return self._assembler.missing(head) or []

    def forget(self, epoch: int, round: int) -> None:
        """Drop unfinished messages of older epochs, or of rounds before this one."""
        self._assembler.forget(lambda head: (head.epoch, head.round) < (epoch, round))

    def dropped(self) -> dict[str, int]:
        """Frames and messages that were dropped, by reason."""
        return {**self.counts, **self._assembler.counts}
