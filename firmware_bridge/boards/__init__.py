"""Boards: one TOML file each, every fact with its source, and `this-machine`, read from the kernel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput, did_you_mean
from edgekit.target import Board
from firmware_bridge.boards.machine import this_machine

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

THIS_MACHINE = "this-machine"


class BoardFiles:
    """The boards of a folder of TOML files, and this machine as the kernel under `root` describes it."""

    def __init__(self, folder: Path | None = None, *, root: Path = Path("/")) -> None:
        self.folder, self.root = folder or Path(__file__).parent, root

    def names(self) -> list[str]:
        """Every board, sorted."""
        return sorted([THIS_MACHINE, *(path.stem for path in self.folder.glob("*.toml"))])

    def load(self, name: str) -> Board:
        """One board by name; BadInput where its file is absent or broken."""
        if name == THIS_MACHINE:
            return this_machine(self.root)
        path = self.folder / f"{name}.toml"
        if name not in self.names():
            raise BadInput(f"boards: '{name}' is unknown. {did_you_mean(name, self.names())}")
        return read_board(path)


def read_board(path: Path) -> Board:
    """A board file: `title`, `target`, and a table with `value` and `source` for each fact.

    `Board.facts` holds the values by name, and under "sources" where each comes from.
    """
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"boards: {path} cannot be read: {error}. Correct the file.") from error
    for key in ("title", "target"):
        if not isinstance(text.get(key), str):
            raise BadInput(f'boards: {path} has no {key}. Add a line {key} = "...".')
    facts = {key: value for key, value in text.items() if key not in ("title", "target")}
    for key, value in facts.items():
        if not isinstance(value, dict) or set(value) != {"value", "source"}:
            raise BadInput(
                f"boards: {path}: the fact '{key}' needs a value and a source. "
                f'Write [{key}] with value = ... and source = "...".'
            )
    return Board(path.stem, text["title"], text["target"], _flat(facts))


def _flat(facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    values = {key: fact["value"] for key, fact in facts.items()}
    return {**values, "sources": {key: fact["source"] for key, fact in facts.items()}}
