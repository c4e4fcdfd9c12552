"""The broker in Python, amqtt: nothing to install, for tests, demos and a few agents. It speaks MQTT 3.1.1 only."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

from edgekit.broker.server import LOOPBACK, Managed, Process, free_port, reached_at, refuse_taken
from edgekit.errors import MissingDependency


class Embedded(Managed):
    """A broker in a process of its own, at a free port of this machine unless told otherwise; it lets everyone in.

    It ends with the process that started it, however that ends. log: a file, by default one of its own.
    """

    def __init__(self, *, host: str = LOOPBACK, port: int = 0, log: Path | None = None) -> None:
        if importlib.util.find_spec("amqtt") is None:
            raise MissingDependency("amqtt", "broker", "the broker in Python")
        self.host, self.port = host, port or free_port(host)
        self.log = log or Path(tempfile.mkdtemp(prefix="edgekit-broker-")) / "broker.log"

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

    def __enter__(self) -> Embedded:
        return self.start()
