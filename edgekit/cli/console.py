"""What verbs print: tables, plain lines, and JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.target import Finding

WORD = 24  # letters; longer words are broken where a table gets narrow


def say(*lines: str) -> None:
    """Plain lines on standard output."""
    for line in lines:
        print(line)


def say_json(value: Any) -> None:
    """A value as indented JSON on standard output."""
    print(json.dumps(value, indent=2, default=_plain))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", numbers: Sequence[str] = ()
) -> None:
    """A table; the columns named in `numbers` are set to the right. Off a terminal it is 160 columns wide."""
    from rich.table import Table

    made = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold")
    cells = [[_cell(value) for value in row] for row in rows]
    for index, column in enumerate(columns):
        words = [word for row in cells for word in row[index].split()]
        longest = min(max(map(len, words), default=0), WORD)
        justify: Any = "right" if column in numbers else "left"
        made.add_column(column, justify=justify, overflow="fold", min_width=longest)
    for row in cells:
        made.add_row(*row)
    _console().print(made)


def findings_table(findings: Iterable[Finding], *, title: str = "") -> None:
    """What was found, at which node and layer, and the remedy; nothing where nothing was found."""
    rows = [(item.severity, item.node, item.layer, item.what, item.remedy) for item in findings]
    if rows:
        table(["severity", "node", "layer", "what", "remedy"], rows, title=title)


def count(value: float | None) -> str:
    """A count in engineer's units: 77.9k, 12.5M.

    >>> count(12_501_888)
    '12.5M'
    """
    if value is None:
        return "not measured"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def kib(value: float | None) -> str:
    """Bytes as KiB or MiB."""
    if value is None:
        return "not measured"
    return f"{value / 1024:.1f} KiB" if value < 10 * 2**20 else f"{value / 2**20:.1f} MiB"


def say_aside(line: str) -> None:
    """A plain line on standard error, where it does not mix with results."""
    print(line, file=sys.stderr, flush=True)


def say_nothing(line: str) -> None:
    """Where a line goes under --quiet."""


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, emoji=False)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return "-"
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def _plain(value: Any) -> Any:
    for method in ("to_json", "item", "tolist"):
        if hasattr(value, method):
            return getattr(value, method)()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)
