"""What a power sensor is: a name, what it covers, how often it has news, and a reading."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edgekit.errors import BadInput

Scope = Literal["module", "board", "wall", "cpu", "gpu"]


class Unavailable(BadInput):
    """A sensor is absent, may not be read, or has vanished; one line with the fix."""


class Ended(Unavailable):
    """A stream came to its end: whoever wrote it has stopped on purpose."""


@dataclass(frozen=True)
class Reading:
    """One look at a sensor: nanoseconds of the monotonic clock, and watts or a counter in joules, never both."""

    time_ns: int
    watts: float | None
    joules: float | None


class PowerSensor(Protocol):
    """A source of power or energy.

    period: seconds from one new value to the next. wrap: joules at which a counter starts again at 0, None
    where it never does. note: what a reader of its figures has to know. A sensor's module has
    `find(root) -> list of sensors`, which raises `Unavailable` with the reason where there is none.
    """

    name: str
    scope: Scope
    period: float
    wrap: float | None
    note: str

    def read(self) -> Reading:
        """The present value; `Unavailable` where it cannot be had."""
        ...


def powered(read: Callable[[], float]) -> Reading:
    """A reading of watts, stamped half-way between its beginning and its end."""
    begun = time.monotonic_ns()
    value = read()
    return Reading((begun + time.monotonic_ns()) // 2, value, None)


def metered(read: Callable[[], float]) -> Reading:
    """A reading of a counter in joules, stamped half-way between its beginning and its end."""
    begun = time.monotonic_ns()
    value = read()
    return Reading((begun + time.monotonic_ns()) // 2, None, value)


def text(path: Path, *, fix: str = "") -> str:
    """What a file of the kernel says; `Unavailable` with `fix` (a chmod) where it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except PermissionError as error:
        raise Unavailable(f"power: {path} may not be read by this user. {fix or _chmod(path)}") from error
    except OSError as error:
        raise Unavailable(
            f"power: {path} cannot be read ({error.strerror}): the sensor has vanished. See: edgekit power list"
        ) from error


def number(path: Path, *, fix: str = "") -> int:
    """The integer in a file of the kernel."""
    said = text(path, fix=fix)
    try:
        return int(said)
    except ValueError as error:
        raise Unavailable(f"power: {path} says '{said[:40]}', which is no number. Try again.") from error


def said(path: Path) -> str:
    """What a file says, or "" where there is none to read."""
    try:
        return text(path)
    except Unavailable:
        return ""


def _chmod(path: Path) -> str:
    return f"Run as root, or allow it until the next start: sudo chmod a+r {path}"
