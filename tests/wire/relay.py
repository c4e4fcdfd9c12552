"""A relay before a broker, whose connections tests cut and stall."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread

HARD = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


class Relay:
    """Passes bytes between its own port and the broker's, while nothing stalls it.

    `admits` sees the first bytes of a connection, and says whether they reach the broker.
    """

    def __init__(self, port: int, admits: Callable[[bytes], bool] = lambda begin: True) -> None:
        self._port, self._admits = port, admits
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._lock = Lock()
        self.upwards, self.downwards = (
            Event(),
            Event(),
        )  # set: bytes pass towards the broker, towards the agent
        self.upwards.set()
        self.downwards.set()
        Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where an agent finds it."""
        return f"mqtt://127.0.0.1:{self.port}"

    def stall(self) -> None:
        """Nothing passes any more, and no one is told."""
        self.upwards.clear()
        self.downwards.clear()

    def cut(self) -> None:
        """Reset all connections; new ones pass."""
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD)
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.upwards.set()
        self.downwards.set()

    def close(self) -> None:
        """No longer listen, and cut what there is."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                Thread(target=self._connect, args=(self._server.accept()[0],), daemon=True).start()

    def _connect(self, agent: socket.socket) -> None:
        with suppress(OSError):
            begin = agent.recv(65536)
            if not self._admits(begin):
                self._ends.append(agent)
                return
            broker = socket.create_connection(("127.0.0.1", self._port))
            for end in (agent, broker):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._ends += [agent, broker]
            broker.sendall(begin)
            Thread(target=self._pass, args=(broker, agent, self.downwards), daemon=True).start()
            self._pass(agent, broker, self.upwards)

    def _pass(self, source: socket.socket, sink: socket.socket, passes: Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                passes.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
