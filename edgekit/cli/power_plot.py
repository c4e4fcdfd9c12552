"""A curve of watts over time in braille, eight rows high with its axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

ROWS: Final = 8
DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell, from the top
MARGIN: Final = 10  # letters for the numbers of the watts' axis
Point = tuple[float, float]


def plot(points: Sequence[Point], *, width: int, seconds: float, rows: int = ROWS) -> list[str]:
    """The last `seconds` of (time in s, watts) points as rows + 2 lines of `width` letters; NaN leaves a hole.

    The axis begins at 0, or a little below the lowest point where all lie in the upper half.
    """
    columns = max(width - MARGIN - 2, 8)
    end = points[-1][0] if points else 0.0
    shown = [(1 - (end - time) / seconds, watts) for time, watts in points if end - time <= seconds]
    low, high = limits([watts for _, watts in shown if math.isfinite(watts)])
    cells = [[0] * columns for _ in range(rows)]
    for x, y in _dots(shown, low, high, 2 * columns, 4 * rows):
        cells[y // 4][x // 2] |= DOTS[y % 4][x % 2]
    lines = [
        f"{_number(row, rows, low, high):>{MARGIN}} ┤" + "".join(chr(0x2800 + cell) for cell in cells[row])
        for row in range(rows)
    ]
    since = f"-{seconds:g} s"
    return [
        *lines,
        " " * MARGIN + " └" + "─" * columns,
        " " * (MARGIN + 2) + since + "now".rjust(columns - len(since)),
    ]


def limits(watts: Sequence[float]) -> tuple[float, float]:
    """Where the axis begins and ends: round numbers that hold all of `watts`.

    >>> limits([5.1, 5.4]), limits([0.2, 1.9])
    ((5.0, 5.4), (0.0, 2.0))
    """
    if not watts:
        return 0.0, 1.0
    least, most = min(watts), max(watts)
    if 0 <= least < most / 2 or least == most:
        least = min(0.0, least)
    span = (most - least) or 1.0
    step = 10 ** math.floor(math.log10(span))
    step *= next(part for part in (0.25, 0.5, 1.0, 2.5) if span <= 4 * part * step)
    return math.floor(least / step) * step, max(math.ceil(most / step), 1) * step


def _dots(
    points: Sequence[Point], low: float, high: float, width: int, height: int
) -> Iterator[tuple[int, int]]:
    """Dots (x from the left, y from the top), upright lines between neighbours whose heights differ."""
    placed = [
        (round(x * (width - 1)), None if math.isnan(y) else round((high - y) / (high - low) * (height - 1)))
        for x, y in points
    ]
    for (_, before), (x, y) in pairwise([(0, None), *placed]):
        if y is not None:
            first = y if before is None else before
            yield from ((x, dot) for dot in range(min(first, y), max(first, y) + 1))


def _number(row: int, rows: int, low: float, high: float) -> str:
    """The watts at the top, the middle and the bottom row; "" at others."""
    at = {0: high, rows // 2: (low + high) / 2, rows - 1: low}
    return f"{at[row]:.4g} W" if row in at else ""
