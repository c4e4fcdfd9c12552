"""A broker that edgekit has started, whatever it is."""

from __future__ import annotations

import atexit
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final, Protocol

from edgekit.errors import EdgekitError

LOOPBACK: Final = "127.0.0.1"
START: Final = 15.0  # seconds within which a broker listens
PORTS: Final = range(20_000, 32_000)  # below those of Linux for connections
STOP: Final = 5.0  # seconds within which it ends when it is asked to


class Server(Protocol):
    """A broker that runs."""

    @property
    def url(self) -> str:
        """Where agents on this machine find it."""
        ...

    @property
    def pid(self) -> int:
        """The number of its process; ServerError where there is none."""
        ...

    def wait(self) -> None:
        """Wait until it ends; ServerError where it failed."""
        ...

    def stop(self) -> None:
        """End it in good order; may be called twice."""
        ...

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        ...


class ServerError(EdgekitError):
    """A broker that does not run; the message ends with what its log said last."""


class Managed:
    """What is the same for every broker: a process that comes and goes."""

    _process: Process | None = None

    @property
    def pid(self) -> int:
        """The number of its process; ServerError where there is none."""
        if self._process is None:
            raise ServerError("the broker is not running. Start it: start()")
        return self._process.pid

    def wait(self) -> None:
        """Wait until it ends; ServerError where it failed."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """End it in good order; may be called twice."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def __exit__(self, *_: object) -> None:
        self.stop()


class Process:
    """The process of a broker, its log in a file: made once it listens, and ended with this Python at the latest."""

    def __init__(self, command: list[str], listens: list[tuple[str, int]], log: Path) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file)
        atexit.register(self.kill)
        try:
            for host, port in listens:
                self._await(host, port)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def wait(self) -> None:
        """Wait until it ends; ServerError where it failed."""
        if self._process.wait() > 0:
            raise ServerError(f"the broker ended: {self._last_words()}")

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        atexit.unregister(self.kill)

    def _await(self, host: str, port: int) -> None:
        end = time.monotonic() + START
        while not _listens(host, port):
            if self._process.poll() is not None:
                raise ServerError(f"the broker does not start at {host}:{port}: {self._last_words()}")
            if time.monotonic() > end:
                raise ServerError(f"the broker does not listen at {host}:{port}: {self._last_words()}")
            time.sleep(0.02)

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " / ".join(line.strip() for line in lines[-3:] if line.strip()) or "its log is empty"


def free_port(host: str = LOOPBACK) -> int:
    """A port that no one listens at now, and none that the system gives to connections: it stays free for a restart."""
    for port in Random().sample(PORTS, 100):
        with suppress(OSError), socket.create_server((host, port), family=_family(host)):
            return port
    raise ServerError(
        f"{host}: no port is free between {PORTS[0]} and {PORTS[-1]}. Is this an address of this machine?"
    )


def reached_at(host: str) -> str:
    """Where this machine finds what listens at `host`."""
    return {"0.0.0.0": LOOPBACK, "": LOOPBACK, "::": "::1"}.get(host, host)


def refuse_taken(host: str, port: int) -> None:
    """ServerError where another listens already: what answers there would be taken for the broker."""
    if _listens(reached_at(host), port):
        raise ServerError(f"{host}:{port}: another program listens there. Give another port, or end it.")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 1):
            return True
    except OSError:
        return False
