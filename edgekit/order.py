"""Which steps may follow which, and what they need: checked before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import BadInput

if TYPE_CHECKING:
    from edgekit.recipe import Recipe


def check_order(recipe: Recipe) -> None:
    """Raise BadInput naming the first step that cannot work where it stands.

    No step follows a final one; a step that needs PyTorch or trains has no place on an ONNX file; a step that
    trains needs data; one that leaves a choice to the board's tools needs the budget that they choose by.
    """
    final = ""
    for index, step in enumerate(recipe.steps):
        name, place = step.name or type(step).__name__, _place(recipe, index)
        if final:
            raise BadInput(_after_final(name, place, final))
        if recipe.is_onnx and (step.trains or step.needs_torch):
            raise BadInput(_on_onnx(recipe, name, place, trains=step.trains))
        if step.trains and recipe.data is None:
            raise BadInput(
                f"steps: {name}{place} trains, but the recipe names no data. Add a line such as 'data: "
                "fashion-mnist' or 'data: ./data.py:load', or drop the step."
            )
        if step.candidates():
            _check_choice(recipe, index, name)
        final = name if step.final else ""


def _place(recipe: Recipe, index: int) -> str:
    words = recipe.where("steps", index)
    return f" ({words})" if words else ""


def _check_choice(recipe: Recipe, index: int, name: str) -> None:
    budget, why = recipe.budget, ""
    if budget.fps is None and budget.lut is None:
        why = "lists bit widths, but no budget chooses between them. Add budget: {fps: 10000, lut: 40000}"
    elif recipe.folding is not None:
        why = "lists bit widths, but a folding file fits one network alone. Drop folding"
    if why:
        message = f"steps: {name} {why}, or give one width."
        path = ("steps", index, name, "low_bit")
        raise recipe.document.error(path, message) if recipe.document else BadInput(message)


def _after_final(name: str, place: str, final: str) -> str:
    if name == final:
        return f"steps: {name}{place} follows another {final}, which must be last. Keep one of the two."
    return (
        f"steps: {name}{place} follows {final}, which must be last: its scales would be discarded. Move "
        f"{name} before {final}."
    )


def _on_onnx(recipe: Recipe, name: str, place: str, *, trains: bool) -> str:
    reason = "trains" if trains else "needs the PyTorch model"
    return (
        f"steps: {name}{place} {reason}, but the model {Path(recipe.model).name} is an ONNX file, which "
        f"edgekit does not train. Drop {name}, or give the PyTorch model as package.module:Name or "
        "./net.py:Name."
    )
