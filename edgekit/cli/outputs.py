"""The output folder of a run: chosen, resumed, or refused; never overwritten silently."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgekit.errors import BadInput
from edgekit.journal import new_folder, numbered
from edgekit.recipe import Recipe, load_recipe

RECIPE, REPORT = "recipe.yaml", "report.json"


def prepare(
    recipe: Recipe, out: Path | None, *, name: str, force: bool = False, runs: Path = Path("runs")
) -> Path:
    """The folder to write into, with the recipe stored in it.

    Without `out` it is the newest unfinished `runs/NAME-N` of the same recipe (which is resumed), else the
    next number. With `out`, a folder of the same recipe is resumed; one of another recipe is refused, or
    emptied where `force` is set. A folder that edgekit did not make is refused always.
    """
    folder = out if out is not None else _default(recipe, runs, name, force)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out: '{folder}' is a file. Name a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        _reuse(folder, recipe, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECIPE).write_text(recipe.to_yaml(folder=folder.resolve()), encoding="utf-8")
    return folder


def agrees(folder: Path, recipe: Recipe) -> bool:
    """Whether the recipe stored in a folder asks for the same."""
    try:
        return load_recipe(folder / RECIPE) == recipe
    except BadInput:
        return False


def _default(recipe: Recipe, runs: Path, name: str, force: bool) -> Path:
    unfinished = [path for path in numbered(name, runs) if not _finished(path) and agrees(path, recipe)]
    return unfinished[-1] if unfinished and not force else new_folder(name, runs)


def _finished(folder: Path) -> bool:
    return (folder / REPORT).is_file() or any(folder.glob(f"*/{REPORT}"))


def _reuse(folder: Path, recipe: Recipe, *, force: bool) -> None:
    if not (folder / RECIPE).is_file():
        raise BadInput(
            f"--out: '{folder}' holds files that no edgekit run wrote, so they are kept. Name an empty or "
            "new folder with --out."
        )
    if force:
        _empty(folder)
    elif not agrees(folder, recipe):
        raise BadInput(
            f"--out: '{folder}' holds a run of another recipe. Name another folder with --out, or add "
            "--force to delete that run."
        )


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()
