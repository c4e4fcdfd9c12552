"""What a run has done so far: finished steps by key, measured decisions, and a line an event."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput

PACKAGES = ("edgekit", "torch", "onnx", "onnxruntime", "onnxscript", "torch-pruning", "numpy")


class Journal:
    """`journal.jsonl`, `decisions.json` and `steps/KEY/` of an output folder.

    A step's folder appears complete or not at all, so a kill loses at most the step that was running.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)

    def note(self, event: str, **facts: Any) -> None:
        """Append one line: time (UNIX seconds), event and facts."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **facts}, sort_keys=True)
        with open(self.folder / "journal.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def step(self, index: int, name: str, key: str) -> Path:
        """Where a step's container lies."""
        return self.folder / "steps" / f"{index:02d}-{name}-{key[:16]}"

    def decide(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The decision `name`: read where it was taken, else measured and written before it is returned."""
        decisions = self.decisions()
        if name not in decisions:
            decisions[name] = measure()
            write_json(self.folder / "decisions.json", decisions)
            self.note("decision", name=name, decision=decisions[name])
        return decisions[name]

    def decisions(self) -> dict[str, Any]:
        """Every decision taken so far."""
        path = self.folder / "decisions.json"
        return read_json(path) if path.exists() else {}

    def replay(self, path: Path) -> None:
        """Take the decisions of another run; BadInput where this run has taken its own."""
        given = read_json(path)
        if not isinstance(given, dict):
            raise BadInput(f"--decisions: '{path}' is no decisions.json. Name that of an earlier run.")
        own = self.decisions()
        if own and own != given:
            raise BadInput(f"--decisions: '{self.folder}' has taken its own already. Choose another --out.")
        write_json(self.folder / "decisions.json", given)


def new_folder(name: str, runs: Path = Path("runs")) -> Path:
    """runs/NAME-N with the N after the highest that exists, from 1."""
    taken = numbered(name, runs)
    return runs / f"{name}-{_number(taken[-1], name) + 1 if taken else 1}"


def numbered(name: str, runs: Path = Path("runs")) -> list[Path]:
    """The folders runs/NAME-N that exist, by N."""
    found = [path for path in runs.glob(f"{name}-*") if path.name.removeprefix(f"{name}-").isdecimal()]
    return sorted(found, key=lambda path: _number(path, name))


def _number(path: Path, name: str) -> int:
    return int(path.name.removeprefix(f"{name}-"))


def step_key(previous: str, facts: Mapping[str, Any]) -> str:
    """SHA-256 of the key before and of this step's facts in canonical JSON."""
    text = json.dumps({"previous": previous, **facts}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def environment() -> dict[str, Any]:
    """What a result depends on besides the recipe: versions and machine."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {"python": platform.python_version(), "machine": platform.machine(), **versions}


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is whole or absent; a full disk is one line."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadInput(
            f"{path}: cannot be written: {error.strerror or error}. Free space there, or choose another "
            "--out."
        ) from error


def read_json(path: Path) -> Any:
    """Read JSON; BadInput where the file is torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read: {error}. Remove it and run again.") from error
