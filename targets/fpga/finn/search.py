"""A folding, and bit widths where they are open, within a budget: `fps=10000,lut=40000`.

FINN folds for a frame rate, taking the least hardware that reaches it. So a rate in the budget is tried as it is;
without one the highest rate that fits is sought by halving. Narrow streams of weights (FINN's own limit) are
easier to route and come first; where they cannot reach a rate, wide ones are tried. Bit widths are tried from the
first given (the most accurate) on, and the first that meets the budget is taken.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput, EdgekitError
from edgekit.target import Board
from targets.fpga.finn.budget import Budget
from targets.fpga.finn.build import CONFIG, FOLDING, NARROW
from targets.fpga.finn.estimate import OUTPUT, Estimate, estimate, refold
from targets.fpga.finn.report import FinnReport, read_report
from targets.fpga.tool import Environment

CLOSE = 1.1  # rates this near to each other are one: folding comes in steps
TRIALS = 16
FIRST = 100  # frames per second
WIDE = 10_000  # bits of weights a cycle and element: no limit


@dataclass(frozen=True)
class Trial:
    """One folding: its bit widths, the rate it was folded for, what it costs and what of that is too much.

    `folder` is that of its estimate; after a search the best's alone is there.
    """

    bits: Any
    target_fps: int
    report: FinnReport
    excess: dict[str, str]
    folder: Path

    def figures(self) -> dict[str, float | None]:
        """Frames per second and resources by name, as estimated."""
        resources = {name: figure.estimated for name, figure in self.report.resources.items()}
        return {"fps": self.report.fps.estimated, **resources}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types, the report in short."""
        return {
            "bits": self.bits,
            "target_fps": self.target_fps,
            **self.figures(),
            "excess": self.excess,
        }


@dataclass(frozen=True)
class Search:
    """All that was tried, and the best: within the budget if any is, else the nearest. `missed` says what lacks.

    `failed` {bits: FINN's reason} are those that could not be estimated.
    """

    budget: Budget
    best: Trial
    trials: tuple[Trial, ...]
    failed: Mapping[Any, str] = field(default_factory=dict)

    def nearest(self, bits: Any) -> Trial | None:
        """The best folding of a width, None where none was estimated."""
        return min((trial for trial in self.trials if trial.bits == bits), key=_badness, default=None)

    @property
    def missed(self) -> str:
        """The budget's missed parts in one line without a full stop; "" where it is met."""
        told = ", ".join(f"{name} {value}" for name, value in self.best.excess.items())
        return f"the budget is missed: {told}" if told else ""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "budget": asdict(self.budget),
            "best": self.best.to_json(),
            "trials": [trial.to_json() for trial in self.trials],
            "failed": dict(self.failed),
            "missed": self.missed,
        }


def search(
    build_of: Callable[[Any, float], Path],
    board: Board,
    budget: Budget,
    *,
    bits: Sequence[Any] = (None,),
    finn: Environment | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Search:
    """The first of `bits` with a folding within `budget`, written into its build folder as folding_config.json.

    `build_of(bits, target_fps)` writes a build folder (build.write_build), a folder of its own for each bits.
    Without a budget for resources the board's own are the limit. Errors of single widths are told and passed
    over; the first is raised where none could be estimated.
    """
    budget = budget.within(board)
    trials: list[Trial] = []
    failed: dict[Any, EdgekitError] = {}
    for width in bits:
        try:
            found = _one_width(build_of, width, board, budget, finn, say)
        except EdgekitError as error:
            failed[width] = error
            say(f"search: {width}: {error}")
            continue
        trials += found
        if not min(found, key=_badness).excess:
            break
    if not trials:
        nothing = BadInput("search: no bit width was given. Give at least one.")
        raise next(iter(failed.values()), nothing)
    best = _kept(min(trials, key=_badness))
    return Search(budget, best, tuple(trials), {width: str(error) for width, error in failed.items()})


def _one_width(
    build_of: Callable[[Any, float], Path],
    width: Any,
    board: Board,
    budget: Budget,
    finn: Environment | None,
    say: Callable[[str], None],
) -> list[Trial]:
    """The asked-for rate alone, or rates raised until the budget is left and then halved between."""
    rate = math.ceil(budget.fps or FIRST)
    build = build_of(width, rate)
    done = estimate(build, finn=finn, say=say)

    def fold(rate: int, stream: int) -> Trial:
        folder = build / f"estimate_{rate}fps_{stream}"
        return _trial(refold(done, folder, rate, stream=stream, finn=finn), board, budget, width, rate, say)

    trials = [_trial(done, board, budget, width, rate, say)]
    if budget.fps is not None:
        return [*trials, fold(rate, WIDE)] if _slower(trials[0]) else trials
    return _raised(trials, fold)


def _raised(trials: list[Trial], fold: Callable[[int, int], Trial]) -> list[Trial]:
    """The first trial and those that close in on the highest rate that fits."""
    fits, over, stream = 0.0, math.inf, NARROW
    while len(trials) < TRIALS:
        last = trials[-1]
        if _slower(last) and not last.excess:
            if stream == WIDE:
                break  # unfolded as far as FINN goes
            stream, over = WIDE, math.inf
        elif last.excess:
            over = last.target_fps
        fits = fits if last.excess else max(fits, float(last.target_fps))
        if over / max(fits, 1.0) <= CLOSE:
            break
        trials.append(fold(math.ceil(_next_rate(fits, over)), stream))
    return trials


def _next_rate(fits: float, over: float) -> float:
    if math.isinf(over):
        return 4 * fits
    return math.sqrt(fits * over) if fits else over / 4


def _slower(trial: Trial) -> bool:
    """Whether the folding does not reach the rate it was made for."""
    return (trial.report.fps.estimated or 0.0) < trial.target_fps


def _trial(
    done: Estimate, board: Board, budget: Budget, width: Any, rate: int, say: Callable[[str], None]
) -> Trial:
    report = read_report(done.folder.parent, board, output=done.folder.name)
    trial = Trial(width, rate, report, budget.excess(report), done.folder)
    used = ", ".join(f"{figure.estimated:,.0f} {name}" for name, figure in report.resources.items())
    verdict = f"misses {' and '.join(trial.excess)}" if trial.excess else "fits"
    which = "" if width is None else f"{width}, "
    say(f"search: {which}{rate:,} fps asked: {report.fps.estimated:,.0f} fps, {used}: {verdict}")
    return trial


def _badness(trial: Trial) -> tuple[bool, float, float]:
    """Within the budget first; then the fastest that fits, or the one nearest to the budget."""
    if not trial.excess:
        return False, -(trial.report.fps.estimated or 0.0), trial.report.resources["lut"].estimated or 0.0
    return True, float(len(trial.excess)), trial.report.resources["lut"].estimated or 0.0


def _kept(best: Trial) -> Trial:
    """The best, its folding put where the whole build finds it; the other estimates are dropped."""
    build = best.folder.parent
    shutil.copyfile(best.folder / "report" / "auto_folding_config.json", build / FOLDING)
    config = json.loads((build / CONFIG).read_text(encoding="utf-8"))
    config |= {"target_fps": best.target_fps, "folding_config_file": FOLDING}
    (build / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if best.folder.name != OUTPUT:
        for part in ("report", "task.json", "finn.log", "build_dataflow.log"):
            _move(best.folder / part, build / OUTPUT / part)
    for other in build.glob(f"{OUTPUT}_*fps_*"):
        shutil.rmtree(other)
    return replace(best, folder=build / OUTPUT)


def _move(source: Path, target: Path) -> None:
    """Put a file or folder in the place of another."""
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)
