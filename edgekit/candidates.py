"""A step that leaves a choice to the board's own tools: its candidates are estimated untrained, one is trained."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadInput, BudgetMissed

if TYPE_CHECKING:
    from edgekit.board_run import BoardRun
    from edgekit.job import Job
    from edgekit.transforms.base import Transform

FOLDER = "candidates"


def settle(step: Transform, model: Any, job: Job, run: BoardRun) -> tuple[Transform, tuple[str, ...]]:
    """The step as it is, or the first of its candidates within the board's budget, with a note on each that was tried.

    The choice is a decision of the run, so that it is made once. BudgetMissed where no candidate fits: the nearest
    stays in the folder `candidates`, and nothing was trained.
    """
    candidates, choose = step.candidates(), getattr(run.target, "choose", None)
    if not candidates or choose is None:
        return step, ()
    quick = replace(job.rehearsal(), fit=_untrained)

    def graph(candidate: Transform) -> Any:
        return run.graph(candidate.apply(copy.deepcopy(model), quick)[0])

    def measure() -> dict[str, Any]:
        run.say(f"choosing between {', '.join(candidates)} for {run.board.name}, untrained")
        graphs = {name: lambda made=made: graph(made) for name, made in candidates.items()}
        found: dict[str, Any] = choose(run.folder / FOLDER, graphs, run.board, run.aims, run.say)
        return found

    decision = run.journal.decide(f"{run.board.name}/{step.name}", measure)
    if decision["chosen"] not in candidates:
        raise BadInput(
            f"decisions: {run.board.name}/{step.name} chose {decision['chosen']}, which is none of "
            f"{', '.join(candidates)}. Take the decisions of a run of this recipe."
        )
    if decision["missed"]:
        raise BudgetMissed(_none_fits(decision, candidates, run))
    return candidates[decision["chosen"]], tuple(_notes(decision, candidates))


def _untrained(model: Any, data: Any, hooks: Any) -> Any:
    """A training loop that leaves the model as it is: what a network costs does not depend on how well it learned."""
    return model


def _notes(decision: Mapping[str, Any], candidates: Mapping[str, Any]) -> Iterator[str]:
    for name, trial in decision["tried"].items():
        verdict = f"rejected, {trial['rejected']}" if trial["rejected"] else "chosen, the first that fits"
        yield f"{name}: {_told(trial['figures'])}{verdict}"
    left = [name for name in candidates if name not in decision["tried"]]
    if left:
        yield f"not tried, since {decision['chosen']} fits: {', '.join(left)}"


def _told(figures: Mapping[str, float | None]) -> str:
    known = [f"{value:,.0f} {name}" for name, value in figures.items() if value is not None]
    return f"{', '.join(known)} (estimated untrained): " if known else ""


def _none_fits(decision: Mapping[str, Any], candidates: Mapping[str, Any], run: BoardRun) -> str:
    nearest = decision["chosen"]
    return (
        f"budget: {run.board.name}: none of {', '.join(candidates)} fits, so nothing was trained. The nearest is "
        f"{nearest}, but {decision['missed']}; it is kept in {run.folder / FOLDER / nearest}, and all that was tried "
        f"in {run.journal.folder / 'decisions.json'}. Change the budget, or name the widths of {nearest} alone to "
        "train it all the same."
    )
