"""Progress of long work: a bar with an ETA on a terminal, a plain line every few seconds elsewhere, or
nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from edgekit.errors import BadInput

Say = Callable[[str], None]


class Progress(Protocol):
    """Where a loop reports how far it is."""

    def start(self, label: str, total: float) -> None:
        """Begin work of `total` units."""
        ...

    def advance(self, done: float, note: str = "") -> None:
        """`done` units of the total are finished so far."""
        ...

    def stop(self) -> None:
        """The work ended, finished or not."""
        ...


class Silent:
    """Says nothing."""

    def start(self, label: str, total: float) -> None:
        """Nothing."""

    def advance(self, done: float, note: str = "") -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


class Lines:
    """One plain line every `period` seconds: label, percent, time left, note."""

    def __init__(
        self, say: Say | None = None, *, period: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._period, self._clock = say or _to_stderr, period, clock
        self._label, self._total, self._began, self._last = "", 1.0, 0.0, 0.0

    def start(self, label: str, total: float) -> None:
        """Begin; the clock of the ETA starts here."""
        self._label, self._total = label, max(total, 1e-9)
        self._began = self._last = self._clock()

    def advance(self, done: float, note: str = "") -> None:
        """Print if the last line is older than the period, or if this is the end."""
        now = self._clock()
        if now - self._last < self._period and done < self._total:
            return
        self._last = now
        left = eta(done / self._total, now - self._began)
        self._say(f"{self._label}: {done / self._total:4.0%}, {left} left{', ' + note if note else ''}")

    def stop(self) -> None:
        """Nothing to close."""


class Bar:
    """A rich progress bar that leaves the screen when it stops."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def start(self, label: str, total: float) -> None:
        """Draw the bar."""
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.stop()
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        ]
        self._bar = RichProgress(*columns, transient=True)
        self._task = self._bar.add_task(label, total=total, note="")
        self._bar.start()

    def advance(self, done: float, note: str = "") -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)

    def stop(self) -> None:
        """Take the bar away; safe to call twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def eta(fraction: float, elapsed: float) -> str:
    """Time left by proportion, elapsed (1 - f) / f, as `12 s`, `3 min 20 s`, `1 h 05 min`, or `?` at f =
    0.
    """
    if fraction <= 0:
        return "?"
    seconds = round(elapsed * max(0.0, 1 - fraction) / fraction)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


_kind: ContextVar[str] = ContextVar("edgekit_progress", default="auto")


@contextmanager
def show_progress(kind: str) -> Iterator[None]:
    """Within the block, progress is "auto" (a bar on a terminal, else lines), "bar", "lines" or "silent"."""
    if kind not in ("auto", "bar", "lines", "silent"):
        raise BadInput(f"progress: '{kind}' is unknown. Choose auto, bar, lines or silent.")
    token = _kind.set(kind)
    try:
        yield
    finally:
        _kind.reset(token)


def make_progress(say: Say | None = None) -> Progress:
    """The progress that the surrounding `show_progress` asks for; plain lines go to `say`, else to stderr."""
    kind = _kind.get()
    if kind == "auto":
        kind = "bar" if sys.stderr.isatty() and sys.stdout.isatty() else "lines"
    if kind == "silent":
        return Silent()
    return Bar() if kind == "bar" else Lines(say)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
