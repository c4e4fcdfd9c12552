"""Network namespaces: a hub, and hosts joined to it by links of a given rate both ways."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET
FOLDER: Final = "/run/netns"
PREFIX: Final = "eklinks"
BURST: Final = "32kb"  # what passes at once after a pause: 2.6 ms at 100 Mbit/s
WHOLE: Final = (
    "16384"  # bytes of TCP that travel as one: what fits a burst is not taken apart, a third of the CPU
)
QUEUE: Final = "1mb"
CONTROL: Final = "reno"  # of TCP: the one that every kernel lets a namespace have


class Unavailable(Exception):
    """Why there can be no namespaces here."""


@dataclass(frozen=True)
class Shaped:
    """A hub and `hosts` hosts, each with a link of `mbps` in both directions; all gone when it is left.

    The hub is at `at(host)` for a host, and no other host can be reached.
    """

    hosts: int
    mbps: float

    @property
    def hub(self) -> str:
        """The namespace of the hub."""
        return f"{PREFIX}-{os.getpid()}-hub"

    def host(self, number: int) -> str:
        """The namespace of a host."""
        return f"{PREFIX}-{os.getpid()}-{number}"

    def at(self, number: int) -> str:
        """Where a host finds the hub."""
        return f"10.77.{number}.1"

    def __enter__(self) -> Shaped:
        refuse()
        clear()
        with ExitStack() as undo:
            undo.callback(self._remove)
            self._add(self.hub)
            for number in range(self.hosts):
                self._add(self.host(number))
                self._join(number)
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _add(self, name: str) -> None:
        _do("ip", "netns", "add", name)
        _do("ip", "-n", name, "link", "set", "dev", "lo", "up")
        _do("ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv4.tcp_congestion_control={CONTROL}")

    def _join(self, number: int) -> None:
        """A pair of interfaces, each with its rate where it sends."""
        ends = ((self.hub, f"to{number}", self.at(number)), (self.host(number), "up", f"10.77.{number}.2"))
        (hub, far, _), (host, near, _) = ends
        _do("ip", "link", "add", far, "netns", hub, "type", "veth", "peer", "name", near, "netns", host)
        rate = ("tbf", "rate", f"{self.mbps:g}mbit", "burst", BURST, "limit", QUEUE)
        for name, device, address in ends:
            _do("ip", "-n", name, "address", "add", f"{address}/30", "dev", device)
            _do("ip", "-n", name, "link", "set", "dev", device, "up", "gso_max_size", WHOLE)
            _do("tc", "-n", name, "qdisc", "add", "dev", device, "root", *rate)

    def _remove(self) -> None:
        for name in (self.hub, *map(self.host, range(self.hosts))):
            with suppress(Unavailable):
                _do("ip", "netns", "delete", name)


def refuse() -> None:
    """Unavailable where there can be no such links."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Unavailable("network namespaces need Linux and root")
    _try("tbf", "rate", "1mbit", "burst", BURST, "limit", QUEUE)


def has_netem() -> bool:
    """Whether this kernel could delay packets by itself."""
    try:
        _try("netem", "delay", "1ms")
    except Unavailable:
        return False
    return True


def clear() -> None:
    """Remove what a process left that was killed."""
    for name in os.listdir(FOLDER) if os.path.isdir(FOLDER) else ():
        owner = name.split("-")[1] if name.startswith(f"{PREFIX}-") else ""
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            with suppress(Unavailable):
                _do("ip", "netns", "delete", name)


def enter(name: str) -> None:
    """Let this thread, and those that it starts from now on, live in a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"{FOLDER}/{name}") as file:
        if libc.setns(file.fileno(), NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"setns {name}")


def _try(*discipline: str) -> None:
    """Unavailable where the kernel does not have it."""
    name = f"{PREFIX}-{os.getpid()}-trial"
    _do("ip", "netns", "add", name)
    try:
        _do("tc", "-n", name, "qdisc", "add", "dev", "lo", "root", *discipline)
    finally:
        _do("ip", "netns", "delete", name)


def _do(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed (iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"{' '.join(command)}: {error.stderr.strip()}") from error
