"""Mosquittos on loopback, configured by hand as examples/brokers.md does."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.broker.certificates import Site
from edgekit.broker.probe import Probe
from edgekit.broker.server import free_port
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


@contextmanager
def mosquitto(folder: Path, lines: str, *, scheme: str = "mqtt") -> Iterator[Running]:
    """One with these lines beside its listener."""
    assert PROGRAM is not None
    port = free_port()
    config = folder / f"mosquitto-{port}.conf"
    # as root it would become the user mosquitto, who cannot read a test's files
    config.write_text(f"user root\nlistener {port} 127.0.0.1\n{lines}\n")
    log = folder / f"{port}.log"
    process = subprocess.Popen([PROGRAM, "-c", str(config)], stderr=log.open("w"))
    try:
        _await(log, process)
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


def _await(log: Path, process: subprocess.Popen) -> None:
    """By its own word: whatever answers at the port may be another test's."""
    for _ in range(200):
        assert process.poll() is None, f"Mosquitto ended: {log.read_text()}"
        if "running" in log.read_text():
            return
        time.sleep(0.05)
    raise TimeoutError("Mosquitto does not listen")
