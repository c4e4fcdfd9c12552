"""The swarm in the terminal: a line an agent, live."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from edgekit.cli.console import say
from edgekit.coordinator.starter import Starter

EVERY: Final = 0.25  # seconds between two pictures
PLAIN_EVERY: Final = 5.0  # where the output is no terminal
COLUMNS: Final = (
    "agent",
    "status",
    "round",
    "loss",
    "neighbours",
    "round time",
    "sent",
    "consensus",
    "metric",
)


@dataclass
class Seen:
    """What an agent said last of its rounds."""

    round: int
    loss: float
    mixed: str
    seconds: float
    sent: int
    consensus: float

    @classmethod
    def of(cls, text: str) -> Seen | None:
        """A watcher's line read back; None where it is none."""
        parts = text.split()
        try:
            round, loss, mixed, seconds, sent, consensus = parts
            return cls(int(round), float(loss), mixed[:16], float(seconds), int(sent), float(consensus))
        except ValueError:
            return None


class Watch:
    """A table that is drawn anew as agents speak; a line every few seconds where there is no terminal."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._live: Any = None
        self._drawn = 0.0
        self._terminal = sys.stdout.isatty()

    def __enter__(self) -> Watch:
        if self._terminal:
            from rich.live import Live

            self._live = Live(auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def hear(self, starter: Starter, sender: str, text: str) -> None:
        """Take in a watcher's line, and draw where it is time."""
        seen = Seen.of(text)
        if seen is not None:
            self._seen[sender] = seen
        now = time.monotonic()
        if now - self._drawn < (EVERY if self._terminal else PLAIN_EVERY):
            return
        self._drawn = now
        if self._live is not None:
            self._live.update(self._table(starter), refresh=True)
        else:
            say("  ".join(self._short(starter)))

    def rows(self, starter: Starter) -> list[tuple[str, ...]]:
        """A row an agent, in the order of their ids."""
        states, lines = starter.members.states, starter.members.lines
        return [
            (name, state.status, *self._figures(name), _metric(lines.get(name)))
            for name, state in sorted(states.items())
            if state.status != "watching"
        ]

    def _figures(self, name: str) -> tuple[str, ...]:
        seen = self._seen.get(name)
        if seen is None:
            return ("",) * 6
        return (
            str(seen.round),
            f"{seen.loss:.4f}",
            seen.mixed,
            f"{1000 * seen.seconds:.1f} ms",
            f"{seen.sent / 2**20:.1f} MiB",
            f"{seen.consensus:.3g}",
        )

    def _table(self, starter: Starter) -> Any:
        from rich.table import Table

        table = Table(title=f"{starter.spec.name}: {starter.waiting_for() or 'training'}")
        for name in COLUMNS:
            table.add_column(name, justify="left" if name in COLUMNS[:2] else "right")
        for row in self.rows(starter):
            table.add_row(*row)
        return table

    def _short(self, starter: Starter) -> list[str]:
        return [
            f"{row[0]} {row[1]} round {row[2] or '-'} {row[4]} {row[8]}".strip() for row in self.rows(starter)
        ]


def _metric(lines: list[dict[str, Any]] | None) -> str:
    metric = lines[-1].get("metric") if lines else None
    return f"{metric:.4f}" if isinstance(metric, float) else ""
