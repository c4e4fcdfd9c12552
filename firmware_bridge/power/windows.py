"""Windows of a trace, from a file: CSV of start,end,label,inferences, or the stamps of MLPerf Tiny."""

from __future__ import annotations

import csv
import json
import math
from itertools import pairwise
from pathlib import Path

from edgekit.errors import BadInput
from edgekit.profile.trace import Window

FORM = "Write a first line start,end,label,inferences and a line a window, in seconds (label: idle, or any)."


def read_windows(path: Path, *, inferences: int | None = None) -> list[Window]:
    """The windows in `path`; `inferences` for each that is not idle and does not say its own.

    A JSON list of seconds is read as MLPerf Tiny writes it: the first stamp is the start of the run where
    their number is odd, then [start, end] pairs. BadInput with FILE:LINE where it is broken.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"windows: {path} cannot be read: {error}.") from error
    found = _stamps(path, text) if text.lstrip().startswith("[") else _rows(path, text)
    if not found:
        raise BadInput(f"windows: {path} holds no window. {FORM}")
    return [
        Window(item.start, item.end, item.label, item.inferences or (None if item.idle else inferences))
        for item in found
    ]


def _stamps(path: Path, text: str) -> list[Window]:
    try:
        stamps = [float(value) for value in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise BadInput(f"windows: {path} is no list of seconds: {error}.") from error
    stamps = stamps[len(stamps) % 2 :]
    if any(not later > earlier for earlier, later in pairwise(stamps)):
        raise BadInput(f"windows: the stamps of {path} do not rise. {FORM}")
    return [
        Window(start, end, f"window {index}")
        for index, (start, end) in enumerate(zip(stamps[::2], stamps[1::2], strict=True), 1)
    ]


def _rows(path: Path, text: str) -> list[Window]:
    rows = list(csv.reader(text.splitlines()))
    header = [word.strip().lower() for word in rows[0]] if rows else []
    if "start" not in header or "end" not in header:
        raise BadInput(f"windows: {path}:1 names no columns start and end. {FORM}")
    return [
        _window(f"{path}:{line}", dict(zip(header, map(str.strip, row), strict=False)))
        for line, row in enumerate(rows[1:], 2)
        if any(word.strip() for word in row)
    ]


def _window(place: str, row: dict[str, str]) -> Window:
    try:
        start, end = float(row["start"]), float(row["end"])
        count = int(row["inferences"]) if row.get("inferences") else None
    except (KeyError, ValueError) as error:
        raise BadInput(f"windows: {place} is broken ({error}). {FORM}") from error
    if not (math.isfinite(start) and end > start) or (count is not None and count < 1):
        raise BadInput(f"windows: {place} needs end after start and at least one inference. {FORM}")
    return Window(start, end, row.get("label", ""), count)
