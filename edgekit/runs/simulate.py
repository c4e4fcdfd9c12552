"""`simulate`: all runs of a study on this machine, side by side, with lines, summary and report.

history = edgekit.simulate("run.yaml")
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from edgekit.errors import BadInput, MissingDependency
from edgekit.folder_lock import locked
from edgekit.journal import Journal, environment, new_folder, write_json
from edgekit.progress import make_progress
from edgekit.runs import statistics
from edgekit.runs.assemble import Assembled, assemble
from edgekit.runs.history import History
from edgekit.runs.memory import need, refuse_too_large
from edgekit.runs.metrics import metrics_of_cell
from edgekit.runs.overlay import differences, write_csv
from edgekit.runs.run_file import build_run, to_yaml
from edgekit.runs.single import LINES, read_lines
from edgekit.runs.study import Cell, Study, load_study
from edgekit.runs.task import Task, cached_arrays, run_task

Say = Callable[[str], None]
POLL = 0.5  # seconds between two looks at how far the runs are
SUMMARY = "summary.json"
IN_USE = "another process is at this run. Wait for it, or give this one an --out of its own."


def simulate(
    run: str | Path,
    *,
    overrides: Sequence[str] = (),
    out: Path | str | None = None,
    jobs: int | None = None,
    progress: Say | None = None,
) -> History:
    """Run every cell and seed of a run file; the same call on a killed run's folder goes on where it was.

    `overrides` are `optimizer.sgd.lr=0.1`; `jobs` runs at a time, as many as there are cores where None. Without `out`
    a new folder runs/NAME-N is made. BadInput before the start for whatever cannot work, and where a run diverges.
    """
    study = load_study(run, overrides=overrides)
    folder = Path(out) if out is not None else new_folder(study.title)
    return Simulation(study, folder, jobs=jobs, say=progress).history()


class Simulation:
    """One study in one folder."""

    producer: ClassVar[Literal["simulate", "train"]] = "simulate"

    def __init__(
        self, study: Study, folder: Path, *, jobs: int | None = None, say: Say | None = None
    ) -> None:
        self.study, self.folder = study, folder
        self.say = say or (lambda line: None)
        self.journal = Journal(folder)
        count = len(study.cells) * study.seeds
        self.jobs = max(1, min(jobs or os.cpu_count() or 1, count))

    def history(self) -> History:
        """Everything that is not done yet, then the summary and the report; BadInput where another process does it."""
        with locked(self.folder, IN_USE):
            return self._done()

    def _done(self) -> History:
        (self.folder / "run.yaml").write_text(
            to_yaml(self.study.document.value, folder=self.folder), encoding="utf-8"
        )
        self.journal.note("start", environment=environment())
        cells = [self._decided(cell) for cell in self.study.cells]
        self._start_check(cells)
        tasks = {(cell.name, seed): self._task(cell, seed) for cell in cells for seed in self.study.all_seeds}
        last = self._run(tasks, label=self.study.title)
        self._write_summary(cells, last)
        history = History.of(self.folder)
        self._write_report(history)
        self.journal.note("end")
        return history

    def _write_report(self, history: History) -> None:
        try:
            from edgekit.report.run_html import write_run_html
            from edgekit.runs.pictures import pictures

            write_run_html(history, self.folder / "report.html", pictures=pictures(self.study, self.folder))
        except (ImportError, MissingDependency) as error:  # a board that trains needs no matplotlib
            self.say(f"report.html is left out: {error}. Run: pip install 'edgekit[host]'")

    def _start_check(self, cells: list[Cell]) -> None:
        """Assemble every cell once, so that what cannot work is refused before anything runs."""
        largest = None
        for cell in cells:
            made = self._assembled(cell)
            for warning in made.warnings:
                self.say(f"{cell.name}: warning: {warning}")
            found = need(made)
            if largest is None or found.bytes > largest.bytes:
                largest = found
        if largest is not None:
            self.say(f"memory: {largest}" + (f", {self.jobs} runs at a time" if self.jobs > 1 else ""))
            refuse_too_large(largest, jobs=self.jobs, device=made.facts["device"])

    def _assembled(self, cell: Cell) -> Assembled:
        arrays = cached_arrays(cell.run.data, cell.run.data_options)
        try:
            made = assemble(cell.run, self.study.seed, arrays=arrays, gradients=self._known_way(cell))
        except BadInput as error:
            raise self._placed(cell, error) from error
        self.journal.decide(
            f"{cell.name}/gradients",
            lambda: {"way": made.facts["gradients"], "seconds_a_row": made.facts.get("probe")},
        )
        return made

    def _placed(self, cell: Cell, error: BadInput) -> BadInput:
        document = self.study.document
        key = str(error).partition(":")[0]
        where = document.where((key,)) if key in document.value else document.source
        named = f"{cell.name}: " if len(self.study.cells) > 1 else ""
        return BadInput(f"{where}: {named}{error}")

    def _known_way(self, cell: Cell) -> str | None:
        known = self.journal.decisions().get(f"{cell.name}/gradients")
        return None if known is None else str(known["way"])

    def _decided(self, cell: Cell) -> Cell:
        """The cell with its learning rate tuned, where the study asks for that."""
        tune = self.study.tune
        if tune is None:
            return cell
        chosen = self.journal.decide(f"{cell.name}/lr", lambda: self._tune(cell, tune))
        return self._with(cell, lr=float(chosen["lr"]), rounds=cell.run.rounds)

    def _tune(self, cell: Cell, tune: Mapping[str, Any]) -> dict[str, Any]:
        rounds = int(tune.get("rounds", cell.run.rounds))
        trials = {float(rate): self._with(cell, lr=float(rate), rounds=rounds) for rate in tune["lr"]}
        self._assembled(next(iter(trials.values())))
        tasks = {
            (cell.name, index): replace(
                self._task(trial, self.study.seed),
                folder=self.folder / "tune" / slug(cell.name) / f"lr-{rate:g}",
                validation=True,
                gradients=self._known_way(cell) or "loop",
            )
            for index, (rate, trial) in enumerate(trials.items())
        }
        last = self._run(tasks, label=f"{cell.name}: tuning lr", diverged_is_worst=True)
        scores = {
            rate: statistics.figure(last[cell.name, index], "agent_metric_mean")
            if last[cell.name, index]
            else None
            for index, rate in enumerate(trials)
        }
        measured = {rate: score for rate, score in scores.items() if score is not None}
        if not measured:
            raise BadInput(f"tune: every rate of {cell.name} diverged. Try lower ones.")
        better = max if self._higher_is_better(cell) else min
        best = better(measured, key=lambda rate: measured[rate])
        return {"lr": best, "validation": {f"{rate:g}": score for rate, score in scores.items()}}

    def _higher_is_better(self, cell: Cell) -> bool:
        from edgekit.registry import metrics

        metric = metrics.get(cell.run.metric or "accuracy")
        return bool(getattr(metric, "higher_is_better", True))

    def _with(self, cell: Cell, *, lr: float, rounds: int) -> Cell:
        values = {**cell.run.plain, "rounds": rounds}
        given = values.get("optimizer", "sgd")
        ((name, options),) = given.items() if isinstance(given, Mapping) else ((given, {}),)
        values["optimizer"] = {name: {**(options or {}), "lr": lr}}
        return Cell(cell.name, cell.labels, build_run(values, self.study.document))

    def _task(self, cell: Cell, seed: int) -> Task:
        return Task(
            values=dict(cell.run.plain),
            source=self.study.document.source,
            seed=seed,
            folder=self.folder / self._place(cell.name, seed),
            gradients=self._known_way(cell) or "loop",
        )

    def _place(self, cell: str, seed: int) -> str:
        if len(self.study.cells) * self.study.seeds == 1:
            return "."
        return f"runs/{slug(cell)}/seed-{seed}"

    def _run(
        self, tasks: Mapping[Any, Task], *, label: str, diverged_is_worst: bool = False
    ) -> dict[Any, dict[str, Any]]:
        """The last line of every task; {} of one that diverged, where that is allowed."""
        bar = make_progress(self.say)
        rounds = {key: int(task.values.get("rounds", 100)) for key, task in tasks.items()}
        bar.start(label, float(sum(rounds.values())))
        found: dict[Any, dict[str, Any]] = {}
        try:
            for key, result in self._results(tasks, bar):
                if "error" in result and not diverged_is_worst:
                    raise BadInput(f"{key[0]}, seed {key[1]}: {result['error']}")
                found[key] = result.get("last", {})
        finally:
            bar.stop()
        return found

    def _results(self, tasks: Mapping[Any, Task], bar: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.jobs, mp_context=context, initializer=_one_thread) as pool:
            waiting = {pool.submit(run_task, task): key for key, task in tasks.items()}
            seen = 0
            try:
                while waiting:
                    done, _ = wait(waiting, timeout=POLL, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield waiting.pop(future), future.result()
                    count = sum(_rounds_done(task.folder) for task in tasks.values())
                    if count > seen:
                        bar.advance(float(count))
                        seen = count
            except BaseException:
                for future in waiting:
                    future.cancel()
                for process in (pool._processes or {}).values():
                    process.terminate()
                raise

    def _write_summary(self, cells: list[Cell], last: Mapping[Any, dict[str, Any]]) -> None:
        rows = [self._summed(cell, last) for cell in cells]
        write_json(
            self.folder / SUMMARY,
            {
                "schema": 1,
                "title": self.study.title,
                "claim": self.study.claim or None,
                "source": self.study.source or None,
                "last": rows[0]["last"][str(self.study.seed)],  # this and the metrics are the first cell's
                "metrics": rows[0]["metrics"],
                "cells": rows,
                "differences": differences(rows),
                "run": self.study.document.value,
                "decisions": self.journal.decisions(),
                "versions": environment(),
            },
        )
        write_csv(rows, self.folder / "summary.csv")

    def _summed(self, cell: Cell, last: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
        runs = {seed: read_lines(self.folder / self._place(cell.name, seed)) for seed in self.study.all_seeds}
        lines = {
            seed: {**last[cell.name, seed], "rounds_to_consensus": statistics.rounds_to_consensus(found)}
            for seed, found in runs.items()
        }
        row = {
            "name": cell.name,
            "labels": dict(cell.labels),
            "folders": {str(seed): self._place(cell.name, seed) for seed in self.study.all_seeds},
            "figures": {
                name: statistics.over_seeds(list(lines.values()), name) for name in statistics.FIGURES
            },
            "last": {str(seed): line for seed, line in lines.items()},
        }
        return {**row, "metrics": metrics_of_cell(row, list(runs.values()), producer=self.producer)}


def slug(name: str) -> str:
    """A name as a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "run"


def _one_thread() -> None:
    """What every worker process begins with: one thread for every library, since there is a process a core."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def _rounds_done(folder: Path) -> int:
    """The round of the last line so far, read from the end of the file."""
    path = folder / LINES
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            found = re.findall(rb'"round": (\d+)', file.read())
    except OSError:
        return 0
    return int(found[-1]) if found else 0
