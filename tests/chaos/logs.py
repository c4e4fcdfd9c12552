"""What agents leave in their folders: a line a round, and a journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgekit.coordinator.keeper import ROUNDS

Line = dict[str, Any]


def rounds(folder: Path) -> dict[str, list[Line]]:
    """All rounds of all agents, by id."""
    paths = sorted(folder.glob(f"*/*/{ROUNDS}"))
    return {path.parent.name: _lines(path.read_text(encoding="utf-8")) for path in paths}


def last_round(folder: Path, name: str) -> int:
    """The last round that an agent has finished, -1 before the first."""
    for path in folder.glob(f"*/{name}/{ROUNDS}"):
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            return max((line["round"] for line in _lines(file.read().decode("utf-8", "replace"))), default=-1)
    return -1


def journals(folder: Path) -> list[str]:
    """What the agents have said."""
    return [
        str(line["line"])
        for path in sorted(folder.glob("*/*/journal.jsonl"))
        for line in _lines(path.read_text(encoding="utf-8"))
        if line.get("event") == "say"
    ]


def _lines(text: str) -> list[Line]:
    """Those that are whole."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
