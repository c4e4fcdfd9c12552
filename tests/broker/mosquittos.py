"""Mosquittos on loopback, configured by hand as examples/brokers.md does."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.broker.certificates import Site
from edgekit.broker.probe import Probe
from edgekit.wire.address import Address
from edgekit.wire.credentials import Credentials

PROGRAM = shutil.which(
    "mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin"
)
needs_mosquitto = pytest.mark.skipif(PROGRAM is None, reason="Mosquitto is not installed")


@dataclass
class Running:
    """A broker that runs: its process, and where."""

    process: subprocess.Popen
    address: Address

    def probe(self, credentials: Credentials | None = None, **settings) -> Probe:
        """A client, not connected yet."""
        return Probe(self.address, credentials or Credentials(), **settings)

    def reload(self) -> None:
        """Have it read its access list anew."""
        self.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)


def free_port() -> int:
    """A port that no one listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def mosquitto(folder: Path, lines: str, *, scheme: str = "mqtt") -> Iterator[Running]:
    """One with these lines beside its listener."""
    assert PROGRAM is not None
    port = free_port()
    config = folder / f"mosquitto-{port}.conf"
    # as root it would become the user mosquitto, who cannot read a test's files
    config.write_text(f"user root\nlistener {port} 127.0.0.1\n{lines}\n")
    process = subprocess.Popen([PROGRAM, "-c", str(config)], stderr=(folder / f"{port}.log").open("w"))
    try:
        _await(port, process)
        yield Running(process, Address.parse(f"{scheme}://localhost:{port}"))
    finally:
        process.terminate()
        process.wait(10)


def secured(site: Site) -> str:
    """The lines by which a Mosquitto lets in the agents of a site, and holds each to its name."""
    return "\n".join(
        (
            f"cafile {site.broker}/ca.pem",
            f"certfile {site.broker}/certificate.pem",
            f"keyfile {site.broker}/key.pem",
            "require_certificate true",
            "use_identity_as_username true",
            "allow_anonymous false",
            f"acl_file {site.broker}/acl",
        )
    )


def _await(port: int, process: subprocess.Popen) -> None:
    for _ in range(100):
        assert process.poll() is None, "Mosquitto ended; see its log"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("Mosquitto does not listen")
