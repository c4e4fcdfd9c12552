"""The broker in Python, amqtt: nothing to install, for tests, demos and a few agents. It speaks MQTT 3.1.1 only."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from edgekit.broker.server import LOOPBACK, Process, free_port, reached_at, refuse_taken
from edgekit.errors import MissingDependency


class Embedded:
    """A broker in a process of its own, at a free port of this machine unless told otherwise; it lets everyone in.

    It ends with the process that started it, however that ends. log: a file, by default one of its own.
    """

    def __init__(self, *, host: str = LOOPBACK, port: int = 0, log: Path | None = None) -> None:
        if importlib.util.find_spec("amqtt") is None:
            raise MissingDependency("amqtt", "broker", "the broker in Python")
        self.host, self.port = host, port or free_port(host)
        self.log = log or Path(tempfile.mkdtemp(prefix="edgekit-broker-")) / "broker.log"
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where agents on this machine find it."""
        host = reached_at(self.host)
        return f"mqtt://{f'[{host}]' if ':' in host else host}:{self.port}"

    def start(self) -> Embedded:
        """Start it, and wait until it listens; ServerError where it does not."""
        refuse_taken(self.host, self.port)
        command = [sys.executable, "-m", "edgekit.broker.amqtt_process", self.host, str(self.port)]
        self._process = Process(command, [(reached_at(self.host), self.port)], self.log)
        return self

    def wait(self) -> None:
        """Wait until it ends."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def __enter__(self) -> Embedded:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
