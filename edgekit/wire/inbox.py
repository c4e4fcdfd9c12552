"""What came in and waits for an agent to read it: bounded, filled by one thread and read by another."""

from __future__ import annotations

from collections import OrderedDict, deque
from queue import Empty, SimpleQueue
from threading import Lock
from time import monotonic
from typing import Final

from edgekit.wire.transport import Message

OF_MESSAGE: Final = 512  # bytes that a message takes beside its payload: empty frames cannot fill the memory
VERSIONS: Final = 16  # of one document that wait, and of the link


class Inbox:
    """Messages in order; above `limit` bytes the oldest frames and lines go, never the newest, and are `lost`.

    One thread takes. The bell is rung outside the lock, so that who is woken need not wait for it at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.lost = limit, 0
        self._size, self._count = 0, 0
        self._passing: deque[tuple[int, Message]] = deque()  # frames and lines, by number of arrival
        self._lasting: OrderedDict[int, Message] = OrderedDict()  # documents, and what happened to the link
        self._versions: dict[tuple[str, str], deque[int]] = {}  # of what lasts: the numbers of each name
        self._lock, self._awaited = Lock(), False
        self._bell: SimpleQueue[None] = SimpleQueue()

    def put(self, message: Message) -> None:
        """Add a message at the end, and wake who waits for one."""
        with self._lock:
            self._count += 1
            if message.what in ("frame", "line"):
                self._passing.append((self._count, message))
                self._size += len(message.payload) + OF_MESSAGE
                if self._size > self.limit:
                    self._make_room()
            else:
                self._keep(message)
            awaited, self._awaited = self._awaited, False
        if awaited:
            self._bell.put(None)

    def take(self, timeout: float) -> Message | None:
        """The first message, or None after `timeout` seconds."""
        message, end = self._first(wait=timeout > 0), monotonic() + timeout
        while message is None and timeout > 0:
            try:
                self._bell.get(timeout=timeout)  # it may also ring for what was taken before
            except Empty:
                return self._first(wait=False)
            message, timeout = self._first(wait=True), end - monotonic()
        return message

    def _first(self, *, wait: bool) -> Message | None:
        """The first message, or None, for which the bell will ring then if someone is to `wait` for it."""
        with self._lock:
            self._awaited = False
            if self._lasting:
                return self._take_lasting()
            if self._passing:
                return self._take_passing()
            self._awaited = wait
            return None

    def _take_passing(self) -> Message:
        _, message = self._passing.popleft()
        self._size -= len(message.payload) + OF_MESSAGE
        return message

    def _take_lasting(self) -> Message:
        number = next(iter(self._lasting))
        if self._passing and self._passing[0][0] < number:
            return self._take_passing()
        message = self._lasting.pop(number)
        versions = self._versions[_name(message)]
        versions.popleft()
        if not versions:
            del self._versions[_name(message)]
        return message

    def _keep(self, message: Message) -> None:
        self._lasting[self._count] = message
        versions = self._versions.setdefault(_name(message), deque())
        versions.append(self._count)
        if len(versions) > VERSIONS:
            del self._lasting[versions.popleft()]

    def _make_room(self) -> None:
        while self._size > self.limit and len(self._passing) > 1:
            self._take_passing()
            self.lost += 1


def _name(message: Message) -> tuple[str, str]:
    """What makes room for what: versions of one document, and the ups and downs of the link."""
    return ("", "") if message.what == "link" else (message.sender, message.name)
