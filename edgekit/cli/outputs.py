"""The output folder of a run: chosen, resumed, or refused; never overwritten silently."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput
from edgekit.journal import new_folder, numbered
from edgekit.recipe import Recipe, load_recipe


@dataclass(frozen=True)
class Asked:
    """What a folder is to hold: the file that asks for it, how that is written, and whether a folder asks the same."""

    file: str
    report: str  # there once the folder is finished
    text: Callable[[Path], str]
    agrees: Callable[[Path], bool]

    def finished(self, folder: Path) -> bool:
        """Whether the report is there, its own or that of a board."""
        return (folder / self.report).is_file() or any(folder.glob(f"*/{self.report}"))


def prepare(
    recipe: Recipe, out: Path | None, *, name: str, force: bool = False, runs: Path = Path("runs")
) -> Path:
    """The folder that a recipe writes into, with the recipe stored in it; see `place`."""
    asked = Asked(
        "recipe.yaml",
        "report.json",
        lambda folder: recipe.to_yaml(folder=folder.resolve()),
        lambda folder: agrees(folder, recipe),
    )
    return place(asked, out, name=name, force=force, runs=runs)


def prepare_run(
    values: Mapping[str, Any], out: Path | None, *, name: str, force: bool = False, runs: Path = Path("runs")
) -> Path:
    """The folder that a run file writes into, with the file stored in it; see `place`."""
    from edgekit.runs.run_file import read_run, to_yaml

    def same(folder: Path) -> bool:
        try:
            return bool(read_run(folder).value == dict(values))
        except BadInput:
            return False

    asked = Asked("run.yaml", "summary.json", lambda folder: to_yaml(values, folder=folder), same)
    return place(asked, out, name=name, force=force, runs=runs)


def place(asked: Asked, out: Path | None, *, name: str, force: bool, runs: Path) -> Path:
    """The folder to write into.

    Without `out` it is the newest unfinished `runs/NAME-N` that asks for the same (which is resumed), else the
    next number. With `out`, a folder that asks for the same is resumed; one that asks for something else is
    refused, or emptied where `force` is set. A folder that edgekit did not make is refused always.
    """
    folder = out if out is not None else _default(asked, runs, name, force)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out: '{folder}' is a file. Name a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        _reuse(folder, asked, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / asked.file).write_text(asked.text(folder), encoding="utf-8")
    return folder


def agrees(folder: Path, recipe: Recipe) -> bool:
    """Whether the recipe stored in a folder asks for the same."""
    try:
        return load_recipe(folder / "recipe.yaml") == recipe
    except BadInput:
        return False


def _default(asked: Asked, runs: Path, name: str, force: bool) -> Path:
    unfinished = [path for path in numbered(name, runs) if not asked.finished(path) and asked.agrees(path)]
    return unfinished[-1] if unfinished and not force else new_folder(name, runs)


def _reuse(folder: Path, asked: Asked, *, force: bool) -> None:
    if not (folder / asked.file).is_file():
        raise BadInput(
            f"--out: '{folder}' holds files that no edgekit run wrote, so they are kept. Name an empty or "
            "new folder with --out."
        )
    if force:
        _empty(folder)
    elif not asked.agrees(folder):
        raise BadInput(
            f"--out: '{folder}' holds another {asked.file.removesuffix('.yaml')}. Name another folder with --out, "
            "or add --force to delete that run."
        )


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()
