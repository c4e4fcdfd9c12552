"""Where a meter's lines come from: a serial device, a pipe, standard input, or a TCP connection."""

from __future__ import annotations

import os
import select
import socket
import stat
from pathlib import Path
from typing import Any, Final

from edgekit.errors import BadInput, did_you_mean
from firmware_bridge.power.sensor import Ended, Unavailable

BAUD: Final = 115_200  # USB meters ignore it, those behind a converter mostly have it
DEVICES: Final = ("dev/serial/by-id/*", "dev/ttyACM*", "dev/ttyUSB*", "dev/ttyAMA*")
BLOCK: Final = 65_536  # bytes


class Port:
    """An open source of bytes, read without blocking for longer than asked.

    place: a path, `-` for standard input, or tcp://HOST:PORT. baud: of a serial device (115200).
    """

    def __init__(self, place: str, baud: int | None = None) -> None:
        self.place = place
        self._descriptor = _open(place)
        self._device = place != "-" and os.isatty(self._descriptor)
        if self._device:
            _set_line(self._descriptor, place, baud or BAUD)
        elif baud is not None:
            self.close()
            raise BadInput(f"serial: {place} is no serial device and has no baud rate. Leave out @{baud}")

    def read(self, seconds: float) -> bytes | None:
        """What has arrived, None where nothing did in `seconds`; `Ended` at its end, `Unavailable` without it."""
        try:
            ready, _, _ = select.select([self._descriptor], [], [], seconds)
            found = os.read(self._descriptor, BLOCK) if ready else None
        except BlockingIOError:
            return None
        except (OSError, ValueError) as error:
            raise self._vanished(str(error)) from error
        if found == b"":
            if self._device:
                raise self._vanished("hung up")
            raise Ended(f"serial: {self.place} has ended: nobody writes to it any more. Start both again.")
        return found

    def _vanished(self, why: str) -> Unavailable:
        return Unavailable(f"serial: {self.place} has vanished ({why}). Plug it in again, and start anew.")

    def close(self) -> None:
        """Give it back; standard input stays open."""
        if self._descriptor > 0:
            os.close(self._descriptor)
        self._descriptor = -1


def devices(root: Path = Path("/")) -> list[str]:
    """The serial devices under `root`, by the names that stay the same first."""
    return [f"/{path.relative_to(root)}" for form in DEVICES for path in sorted(root.glob(form))]


def _open(place: str) -> int:
    if place == "-":
        return 0
    if place.startswith("tcp://"):
        return _connect(place)
    try:
        # a port without its carrier line, and a pipe without a writer, would block
        descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    except OSError as error:
        raise _refusal(place, error) from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadInput(f"serial: {place} is a file, not a live meter. Run: edgekit power integrate {place}")
    return descriptor


def _connect(place: str) -> int:
    host, _, port = place.removeprefix("tcp://").rpartition(":")
    if not host or not port.isdigit():
        raise BadInput(f"serial: '{place}' names no host and port. Write tcp://192.168.1.5:5025")
    try:
        made = socket.create_connection((host.strip("[]"), int(port)), timeout=5)
    except (OSError, OverflowError) as error:
        raise Unavailable(f"serial: {place} does not answer ({error}). Check the meter's address.") from error
    return made.detach()


def _refusal(place: str, error: OSError) -> Unavailable:
    if isinstance(error, PermissionError):
        return Unavailable(f"serial: {place} may not be read by this user. {_permission(Path(place))}")
    if isinstance(error, FileNotFoundError):
        return Unavailable(f"serial: {place} is not there. {did_you_mean(place, devices())}")
    return Unavailable(
        f"serial: {place} cannot be opened ({error.strerror}). See who holds it: fuser {place}"
    )


def _permission(path: Path) -> str:
    """How to be let in: the group that owns the device, or a rule for this device alone."""
    try:
        group = path.group()
    except (OSError, KeyError, NotImplementedError):
        group = "dialout"
    group = "dialout" if group == "root" else group
    rule = f"""'SUBSYSTEM=="tty", KERNEL=="{path.name}", GROUP="{group}", MODE="0660"'"""
    return (
        f"Join its group and log in again: sudo usermod -aG {group} $USER; where it is root's, first: echo {rule} "
        "| sudo tee /etc/udev/rules.d/71-meter.rules; sudo udevadm control --reload; sudo udevadm trigger -s tty"
    )


def _set_line(descriptor: int, place: str, baud: int) -> None:
    """Eight bits as they come at `baud`, no echo, no wait for a carrier; what has arrived is kept."""
    try:
        import termios
        import tty
    except ImportError as error:
        raise BadInput("serial: devices can be read on Linux and macOS only. Use tcp://HOST:PORT") from error
    known = {int(name[1:]): name for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}
    if baud not in known or baud == 0:
        rates = ", ".join(str(rate) for rate in sorted(known) if rate)
        raise BadInput(f"serial: {place} cannot be set to {baud} baud. Known: {rates}.")
    try:
        tty.setraw(descriptor, termios.TCSANOW)
        settings: list[Any] = termios.tcgetattr(descriptor)
        settings[2] |= termios.CLOCAL | termios.CREAD
        settings[4] = settings[5] = getattr(termios, known[baud])
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
    except termios.error as error:
        raise Unavailable(
            f"serial: {place} takes no settings ({error.args[-1]}). Plug it in again."
        ) from error
