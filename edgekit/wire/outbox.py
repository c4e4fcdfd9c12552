"""What waits for the loop to send it: filled by the agent's thread, emptied by the loop's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Lock
from typing import NamedTuple


class Post(NamedTuple):
    """A message on its way to a topic; `size` is what it takes of the window."""

    topic: str
    payload: bytes
    qos: int
    size: int = 0
    retain: bool = False


class Outbox:
    """Posts in order, frames within a window of bytes, and all documents of the agent by topic.

    A frame takes its bytes of the window until the broker has acknowledged it. While there is no link, frames are
    refused and those before are forgotten: whoever needs them by then sends newer ones. Documents are kept, b"" for
    those withdrawn, and posted anew with every link. `wake` tells the loop that there is something.
    """

    def __init__(self, window: int, wake: Callable[[], None]) -> None:
        self.waiting: deque[Post] = deque()
        self._window, self._wake = window, wake
        self._held, self._open = 0, False
        self._documents: dict[str, bytes] = {}
        self._lock = Lock()
        self._room = Condition(self._lock)

    def send(self, topic: str, payload: bytes, qos: int) -> bool:
        """Post a frame once there is room for it; False where there is no link."""
        size = len(payload)
        with self._lock:
            while self._open and self._held and self._held + size > self._window:
                self._room.wait()
            if not self._open:
                return False
            self._held += size
            self.waiting.append(Post(topic, payload, qos, size))
        self._wake()
        return True

    def publish(self, topic: str, document: bytes) -> None:
        """Keep a document, and post it where there is a link."""
        with self._lock:
            self._documents[topic] = document
            if not self._open:
                return
            self.waiting.append(Post(topic, document, 1, retain=True))
        self._wake()

    # the loop's side

    def release(self, size: int) -> None:
        """Give back what a post took of the window; who waits is woken once half of it is free, not for every post."""
        with self._lock:
            self._held -= size
            if 2 * self._held <= self._window:
                self._room.notify()

    def open(self) -> None:
        """There is a link: all documents are posted."""
        with self._lock:
            self.waiting.extend(Post(topic, kept, 1, retain=True) for topic, kept in self._documents.items())
            self._open = True

    def shut(self) -> int:
        """There is no link; how many posts are forgotten that were not even sent."""
        with self._lock:
            forgotten = len(self.waiting)
            self.waiting.clear()
            self._held, self._open = 0, False
            self._room.notify_all()
        return forgotten
