"""What an agent keeps on its disk: snapshots to go on from, a line a round, a line an evaluation, and a journal."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from edgekit import tensor_file
from edgekit.coordinator.report import Report
from edgekit.decentralized.snapshot import Snapshot
from edgekit.folder_lock import locked
from edgekit.journal import Journal, read_json, write_json

KEPT = 2  # snapshots
PATIENCE = 5.0  # seconds for the process before this one to end
IN_USE = "another process is this agent. End it first, or give this one an --id and an --out of its own."
ROUNDS, LINES = "rounds.jsonl", "lines.jsonl"


class Keeper:
    """One agent's folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder)
        self._rounds: IO[str] | None = None
        self._lock = locked(folder, IN_USE, patience=PATIENCE)

    def round(self, report: Report, **more: Any) -> None:
        """Add a line to rounds.jsonl."""
        if self._rounds is None:
            self._rounds = open(self.folder / ROUNDS, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._rounds.write(json.dumps({**_rounded(asdict(report)), **more}) + "\n")

    def line(self, line: dict[str, Any]) -> None:
        """Add an evaluation."""
        with open(self.folder / LINES, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """All evaluations so far."""
        return _read(self.folder / LINES)

    def back_to(self, round: int) -> None:
        """Drop the lines after a round; they come again."""
        for name, last in ((LINES, round), (ROUNDS, round - 1)):
            path = self.folder / name
            if path.exists():
                kept = [line for line in _read(path) if line["round"] <= last]
                temporary = path.with_suffix(".tmp")
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
                os.replace(temporary, path)
        if self._rounds is not None:
            self._rounds.close()
            self._rounds = None

    def snapshots(self) -> tuple[int, ...]:
        """The rounds of the snapshots that are whole."""
        found = [int(path.stem.rpartition("-")[2]) for path in self.folder.glob("snapshot-*.json")]
        return tuple(sorted(found))

    def save(self, found: Snapshot, round: int) -> None:
        """Keep a snapshot, and drop the older ones."""
        tensors = self.folder / f"snapshot-{round}.safetensors"
        tensor_file.write(
            tensors, found.tensors, "snapshot", "Free space there; the snapshot before is kept."
        )
        write_json(tensors.with_suffix(".json"), found.facts)  # says that the tensors are whole
        for old in self.snapshots()[:-KEPT]:
            self.drop(old)

    def drop(self, round: int) -> None:
        """Forget a snapshot."""
        for suffix in (".json", ".safetensors"):
            (self.folder / f"snapshot-{round}{suffix}").unlink(missing_ok=True)

    def load(self, round: int) -> Snapshot:
        """A snapshot that was kept."""
        path = self.folder / f"snapshot-{round}.json"
        return Snapshot(tensor_file.read(path.with_suffix(".safetensors")), read_json(path))

    def close(self) -> None:
        """Close what is open."""
        if self._rounds is not None:
            self._rounds.close()
        self._lock.close()


def _read(path: Path) -> list[dict[str, Any]]:
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(text))
        except ValueError:
            break  # torn when the machine stopped
    return found


def _rounded(facts: dict[str, Any]) -> dict[str, Any]:
    for name in ("seconds", "waited", "deadline"):
        if facts[name] is not None:
            facts[name] = round(facts[name], 6)
    return facts
