"""A relay before a broker that is as far away as one likes: delay, jitter, stalls and resets, for many links at once.

One thread serves all links, and looks at them every half millisecond instead of at every packet: what it costs is the
copying, not the waking. It ends the TCP connection of the agent and begins another to the broker, so the rate of a
link comes from elsewhere (tc), and TCP's own slow start is not seen over the delay.
"""

from __future__ import annotations

import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Final

from tests.wire.relay import HARD

TICK: Final = 0.0005  # seconds between two looks
PIECE: Final = 256 << 10  # bytes that are read at once
HELD: Final = 4 << 20  # bytes on their way in one direction: 25 ms at 1.3 Gbit/s
IDLE: Final = 0.02  # seconds after which an idle relay looks whether it is told something


class SlowRelay:
    """Passes bytes between its links and a broker, `delay` seconds later, give or take up to `jitter`, in order.

    hosts: the address of each link, on which the relay listens at `port`; what is said of link k is of hosts[k].
    """

    def __init__(
        self,
        broker: tuple[str, int],
        hosts: Sequence[str],
        *,
        delay: float,
        jitter: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.delay, self.jitter, self.passed = delay, jitter, 0
        self._broker, self._random = broker, random.Random(seed)
        self._selector, self._ways = selectors.DefaultSelector(), list[_Way]()
        self._stalled = [0.0] * len(hosts)  # until when
        self._resets, self._closed = deque[int](), False
        self.port = 0
        for link, host in enumerate(hosts):
            server = socket.create_server((host, self.port))
            self.port = server.getsockname()[1]
            server.setblocking(False)
            self._selector.register(server, selectors.EVENT_READ, partial(self._accept, server, link))
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stall(self, link: int, seconds: float) -> None:
        """Nothing passes over a link for so long, and no one is told."""
        self._stalled[link] = time.monotonic() + seconds

    def reset(self, link: int) -> None:
        """Reset the connections of a link, with all that is under way; new ones pass."""
        self._resets.append(link)

    def close(self) -> None:
        """No longer listen, and reset what there is."""
        self._closed = True
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select(self._pause()):
                key.data()
            while self._resets:
                self._drop(self._resets.popleft())
            now = time.monotonic()
            for way in list(self._ways):
                if way.waits and way.due <= now and self._stalled[way.link] <= now:
                    self._write(way, now)
            time.sleep(TICK)
        for link in range(len(self._stalled)):
            self._drop(link)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _pause(self) -> float:
        """Seconds for which there is nothing to do but to read."""
        first = min((way.due for way in self._ways if way.waits), default=0.0)
        return min(IDLE, max(0.0, first - time.monotonic())) if first else IDLE

    def _accept(self, server: socket.socket, link: int) -> None:
        agent, _ = server.accept()
        try:
            broker = socket.create_connection(self._broker)
        except OSError:
            agent.close()
            return
        for source, sink in ((agent, broker), (broker, agent)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            source.setblocking(False)
            way = _Way(link, source, sink)
            self._ways.append(way)
            self._selector.register(source, selectors.EVENT_READ, partial(self._read, way))

    def _read(self, way: _Way) -> None:
        now = time.monotonic()
        if way.held >= HELD or self._stalled[way.link] > now:
            return
        try:
            data = way.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._drop(way.link, way)
            return
        if not data:
            self._selector.unregister(way.source)
        jitter = self._random.uniform(-self.jitter, self.jitter) if self.jitter else 0.0
        way.add(data, now + max(0.0, self.delay + jitter))

    def _write(self, way: _Way, now: float) -> None:
        try:
            self.passed += way.write(now)
        except BlockingIOError:
            return
        except OSError:
            self._drop(way.link, way)
            return
        if way.ended and all(other.ended for other in self._pair(way)):
            self._drop(way.link, way)

    def _pair(self, way: _Way) -> list[_Way]:
        return [other for other in self._ways if other.source in (way.source, way.sink)]

    def _drop(self, link: int, of: _Way | None = None) -> None:
        """Reset the connections of a link, or the one that a way belongs to."""
        dropped = [way for way in self._ways if way.link == link] if of is None else self._pair(of)
        self._ways = [way for way in self._ways if way not in dropped]
        for way in dropped:
            with suppress(KeyError, ValueError):
                self._selector.unregister(way.source)
            with suppress(OSError):
                way.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD)
            way.source.close()


class _Way:
    """One direction of a connection, and what is on its way."""

    def __init__(self, link: int, source: socket.socket, sink: socket.socket) -> None:
        self.link, self.source, self.sink = link, source, sink
        self.waits: deque[tuple[float, memoryview]] = deque()
        self.held, self.ended, self._last = 0, False, 0.0

    @property
    def due(self) -> float:
        """When the first of what waits is to arrive."""
        return self.waits[0][0]

    def add(self, data: bytes, due: float) -> None:
        """Bytes that arrive then, and not before those ahead of them; none: the end."""
        self._last = max(self._last, due)
        self.waits.append((self._last, memoryview(data)))
        self.held += len(data)

    def write(self, now: float) -> int:
        """Let arrive what is due, as far as the sink takes it; how many bytes."""
        before = self.held
        while self.waits and self.due <= now:
            due, data = self.waits.popleft()
            if not data:
                self.ended = True
                self.sink.shutdown(socket.SHUT_WR)
                break
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            self.held -= sent
            if sent < len(data):
                self.waits.appendleft((due, data[sent:]))
                break
        return before - self.held
