"""Boards: one TOML file each, every fact with its source, and `this-machine`, read from the kernel."""

from __future__ import annotations

import sys
from functools import lru_cache
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
        """Every board and every variant of one, sorted."""
        return sorted([THIS_MACHINE, *self._variants()])

    def load(self, name: str) -> Board:
        """One board by name; BadInput where its file is absent or broken."""
        if name == THIS_MACHINE:
            return this_machine(self.root)
        known = self._variants()
        if name not in known:
            raise BadInput(f"boards: '{name}' is unknown. {did_you_mean(name, self.names())}")
        return read_board(*known[name])

    def _variants(self) -> dict[str, tuple[Path, str]]:
        """The file and the variant ("" for the board itself) behind each name; a file's own name comes first."""
        paths = sorted(self.folder.glob("*.toml"))
        variants = {f"{path.stem}-{name}": (path, name) for path in paths for name in _variant_names(path)}
        return {**variants, **{path.stem: (path, "") for path in paths}}


def read_board(path: Path, variant: str = "") -> Board:
    """A board file, or one of its variants: `title`, `target`, and `value` and `source` for each fact.

    `Board.facts` holds the values by name, and under "sources" where each comes from. `[variants.NAME.FACT]`
    replaces a fact; the variant's `title`, or else its name, is added to the board's title.
    """
    text = read_toml(path)
    for key in ("title", "target"):
        if not isinstance(text.get(key), str):
            raise BadInput(f'boards: {path} has no {key}. Add a line {key} = "...".')
    facts = {key: value for key, value in text.items() if key not in ("title", "target", "variants")}
    for key, value in facts.items():
        _check_fact(path, key, value)
    variants = _checked_variants(path, text.get("variants", {}), facts)
    if not variant:
        return Board(path.stem, text["title"], text["target"], _flat(facts))
    if variant not in variants:
        raise BadInput(f"boards: {path} has no variant '{variant}'. {did_you_mean(variant, variants)}")
    replaced = dict(variants[variant])
    title = f"{text['title']}, {replaced.pop('title', variant)}"
    return Board(f"{path.stem}-{variant}", title, text["target"], _flat({**facts, **replaced}))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict; BadInput where it cannot be read."""
    try:
        return _loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"boards: {path} cannot be read: {error}. Correct the file.") from error


@lru_cache(maxsize=256)
def _loads(text: str) -> dict[str, Any]:
    """TOML, parsed once a text: whoever looks a board up reads the names in every file."""
    return tomllib.loads(text)


def _variant_names(path: Path) -> list[str]:
    """The variants in a file; none where it is broken, which loading its board then reports."""
    try:
        variants = read_toml(path).get("variants", {})
    except BadInput:
        return []
    return list(variants) if isinstance(variants, dict) else []


def _checked_variants(path: Path, variants: Any, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The variants of a board, where each replaces facts that the board has and says where the values come from."""
    tables = variants.values() if isinstance(variants, dict) else [None]
    if not all(isinstance(table, dict) for table in tables):
        raise BadInput(
            f"boards: {path}: variants are tables of facts. Write [variants.NAME.FACT] with value = ... "
            'and source = "...".'
        )
    for name, table in variants.items():
        _check_variant(path, name, table, facts)
    return variants


def _check_variant(path: Path, name: str, table: dict[str, Any], facts: dict[str, Any]) -> None:
    if not isinstance(table.get("title", ""), str):
        raise BadInput(
            f"boards: {path}: the title of the variant '{name}' is not text. Write title = \"...\" "
            f"under [variants.{name}]."
        )
    for key, value in table.items():
        if key == "title":
            continue
        if key not in facts:
            raise BadInput(
                f"boards: {path}: the variant '{name}' replaces '{key}', a fact that the board does not have. "
                f"{did_you_mean(key, facts)} Correct the name, or add [{key}] to the board."
            )
        _check_fact(path, f"variants.{name}.{key}", value)


def _check_fact(path: Path, key: str, value: Any) -> None:
    if not isinstance(value, dict) or set(value) != {"value", "source"}:
        raise BadInput(
            f"boards: {path}: the fact '{key}' needs a value and a source. "
            f'Write [{key}] with value = ... and source = "...".'
        )


def _flat(facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    values = {key: fact["value"] for key, fact in facts.items()}
    return {**values, "sources": {key: fact["source"] for key, fact in facts.items()}}
