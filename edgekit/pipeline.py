"""The one loop: dry run, then step by step apply, save, measure; then export, audit, choose and report.

    result = compress(model, steps=[Prune(ratio=0.4), Quantize()], data=data, evaluate=metric)

Every step's result lies in `steps/` under a key that hashes all it depends on, so a killed run goes on where it
was, and boards share the steps that do not depend on them.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx

from edgekit import container
from edgekit.board_run import BoardRun
from edgekit.candidates import settle
from edgekit.change import Change
from edgekit.errors import BadInput, EdgekitError
from edgekit.journal import Journal, environment, new_folder, read_json, step_key, write_json
from edgekit.order import check_order
from edgekit.prepare import Prepared, data_fingerprint, prepare, prepare_objects
from edgekit.profile.energy_run import EnergyPlan
from edgekit.quant.quantization import quantization_of
from edgekit.recipe import Budget, Recipe, step_name
from edgekit.target import Board, find_board, target_of
from edgekit.transforms.base import Transform

Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What a run gave: the compressed model (a plain module), its report, its file and its folder.

    With several boards these are the first board's; `boards` holds each one's.
    """

    model: Any
    report: dict[str, Any]
    artefact: Path
    folder: Path
    boards: dict[str, Result]

    @property
    def verdict(self) -> str:
        """The report's sentence, one for each board."""
        if len(self.boards) < 2:
            return str(self.report["verdict"])
        return "\n".join(f"{name}: {result.report['verdict']}" for name, result in self.boards.items())

    @property
    def met(self) -> bool:
        """Whether every budget was kept on every board."""
        return not any(result.report["missed"] for result in self.boards.values() or [self])

    def _repr_html_(self) -> str:
        from edgekit.report.html import summary_html

        return summary_html(self.report)


def compress(
    model: Any,
    *,
    steps: Sequence[Transform],
    data: Any,
    evaluate: Any = None,
    boards: Sequence[str] = ("this-machine",),
    out: Path | str | None = None,
    loss: Any = None,
    fit: Any = None,
    budget: Budget | None = None,
    objective: Literal["latency", "size", "energy"] = "latency",
    seed: int = 0,
    progress: Say | None = None,
    energy: EnergyPlan | None = None,
    **settings: Any,
) -> Result:
    """Compress a trained torch module: the same loop as a recipe's, from objects.

    data: Data, a Dataset, (train, validation) or a dict of parts; evaluate(outputs, targets) -> one score a sample
    or a number; loss(outputs, targets) -> scalar; fit(model, data, hooks) -> model; energy: measure it so for the
    report. Other keyword arguments are fields of `Recipe`. Without `out` a new folder runs/NAME-N is made.
    """
    recipe = Recipe(
        model=type(model).__name__,
        data="given",
        boards=tuple(boards),
        budget=budget or Budget(),
        objective=objective,
        seed=seed,
        steps=tuple(steps),
        **settings,
    )  # type: ignore[arg-type]
    check_order(recipe)
    prepared = prepare_objects(model, recipe, data=data, evaluate=evaluate, loss=loss, fit=fit)
    folder = Path(out) if out is not None else new_folder(type(model).__name__.lower())
    return Run(recipe, prepared, folder, progress or _silent, energy).result()


def compress_recipe(
    recipe: Recipe,
    *,
    out: Path,
    force: bool = False,
    decisions: Path | None = None,
    progress: Say | None = None,
    energy: EnergyPlan | None = None,
) -> Result:
    """Run a recipe into a folder; a finished part of an earlier, killed run is taken up."""
    check_order(recipe)
    journal = Journal(out)
    if decisions is not None:
        journal.replay(decisions)
    return Run(recipe, prepare(recipe), out, progress or _silent, energy).result()


@dataclass(frozen=True)
class State:
    """Where the loop stands: the model, the container entries so far, and the records for the report."""

    model: Any
    entries: tuple[dict[str, Any], ...]
    key: str
    folders: tuple[tuple[str, Path], ...] = ()


class Run:
    """One recipe in one folder."""

    def __init__(
        self,
        recipe: Recipe,
        prepared: Prepared,
        folder: Path,
        say: Say,
        energy: EnergyPlan | None = None,
    ) -> None:
        self.recipe, self.prepared, self.folder, self.say = recipe, prepared, folder, say
        self.energy = energy
        self.journal = Journal(folder)
        self.boards = [find_board(name) for name in recipe.boards]
        original = prepared.model if prepared.job.example else None
        self.job = replace(prepared.job, say=say, original=original)
        self.root = self._root_key()

    def result(self) -> Result:
        """Run everything that is not done yet and write the report of each board."""
        start = time.perf_counter()
        self.journal.note("start", recipe=self.recipe.to_yaml(), environment=environment())
        for board in self.boards:
            self._rehearse(board)
        results = {board.name: self._board(board, start) for board in self.boards}
        if len(results) > 1:
            from edgekit.report.html import write_compare_html

            write_compare_html([result.report for result in results.values()], self.folder / "compare.html")
        shutil.rmtree(self.folder / "work", ignore_errors=True)  # checkpoints of fits, all finished
        self.journal.note("end", seconds=round(time.perf_counter() - start, 1))
        first = next(iter(results.values()))
        return replace(first, folder=self.folder, boards=results)

    def _board(self, board: Board, start: float) -> Result:
        run = self._board_run(board, "report")
        folder = run.folder
        folder.mkdir(parents=True, exist_ok=True)
        run.measure_baseline(self.fresh())
        state = State(self.fresh(), (), self.root)
        for index, step in enumerate(self.recipe.steps):
            state = self._step(index, step, state, run)
            run.measure_step(step_name(step), state.model, self._change(state), state.entries)
        if state.folders:
            container.save(folder, **self._container(state), overwrite=True)
        report = run.finish(state.model, state.entries, seconds=time.perf_counter() - start)
        return Result(state.model, report, folder / "model.onnx", folder, {})

    def _board_run(self, board: Board, step: str) -> BoardRun:
        folder = self.folder if len(self.boards) == 1 else self.folder / board.name
        job, target = self._job_for(board, step), target_of(board)
        return BoardRun(self.recipe, job, board, target, folder, self.journal, self.say, self.energy)

    def _step(self, index: int, step: Transform, state: State, run: BoardRun) -> State:
        name, board = step_name(step), run.board
        step, notes = settle(step, state.model, self._job_for(board, f"{index}-{name}"), run)
        caps = target_of(board).caps(board).key() if step.reads_caps else None
        key = step_key(state.key, {"step": name, "settings": step.settings(), "caps": caps})
        folder = self.journal.step(index, step.name or "step", key)
        if not (folder / "change.json").exists():
            self.say(f"{name} ({index + 1} of {len(self.recipe.steps)})")
            started = time.perf_counter()
            job = replace(
                self._job_for(board, f"{index}-{name}"), work=self.journal.folder / "work" / key[:16]
            )
            model, change = step.apply(self._copy(state.model), job)
            change = replace(change, notes=(*change.notes, *notes))
            entries = (*state.entries, {"transform": name, "settings": step.settings(), "plan": change.plan})
            done = State(model, entries, key, (*state.folders, (name, folder)))
            container.save(folder, **self._container(done), overwrite=True)
            write_json(folder / "change.json", change.to_json())  # written last: the step is done
            self.journal.note(
                "step",
                name=name,
                key=key,
                seconds=round(time.perf_counter() - started, 1),
                digest=container.digest(folder),
            )
            return done
        self.say(f"{name} ({index + 1} of {len(self.recipe.steps)}): done before")
        entries = tuple(container.read_plan(folder)["steps"])
        return State(self._load(folder), entries, key, (*state.folders, (name, folder)))

    def _rehearse(self, board: Board) -> None:
        """Every step on one batch, and the export, so that what cannot work fails in seconds."""
        if all((self.folder / name).exists() for name in ("report.json", "model.onnx")):
            return
        self.say(f"dry run for {board.name}")
        state = self._copy(self.prepared.model)
        quantization, run = None, self._board_run(board, "dry run")
        for index, step in enumerate(self.recipe.steps):
            job = self._job_for(board, f"{index}-{step_name(step)}").rehearsal()
            try:
                settled, _ = settle(step, state, job, run)
                state, change = settled.apply(state, job)
            except EdgekitError:
                raise
            except Exception as error:
                raise BadInput(
                    f"steps: {step_name(step)} {self.recipe.where('steps', index)} fails on this model: "
                    f"{type(error).__name__}: {error}. Exclude the layer it names, or drop the step."
                ) from error
            quantization = quantization_of([{"plan": change.plan}]) or quantization
        run.rehearse(state, quantization)

    def fresh(self) -> Any:
        """The model as it was given."""
        return self._copy(self.prepared.model)

    def _load(self, folder: Path) -> Any:
        if isinstance(self.prepared.model, onnx.ModelProto):
            return onnx.load_model_from_string(container.base_onnx(folder))
        return container.load(folder, self.fresh(), trust=True)

    def _container(self, state: State) -> dict[str, Any]:
        is_file = isinstance(state.model, onnx.ModelProto)
        return {
            "model": None if is_file else state.model,
            "plan": list(state.entries),
            "base": self.prepared.base,
            "base_settings": self.prepared.base_settings,
            "signature": self.prepared.job.signature,
            "quantization": quantization_of(state.entries),
            "onnx": state.model.SerializeToString() if is_file else None,
        }

    def _change(self, state: State) -> Change:
        from edgekit.change import Cost

        value = read_json(state.folders[-1][1] / "change.json")
        return Change(Cost(**value["before"]), Cost(**value["after"]), tuple(value["notes"]), value["plan"])

    def _job_for(self, board: Board, step: str) -> Any:
        return replace(self.job, caps=target_of(board).caps(board), step=step)

    @staticmethod
    def _copy(model: Any) -> Any:
        if isinstance(model, onnx.ModelProto):
            copied = onnx.ModelProto()
            copied.CopyFrom(model)
            return copied
        return copy.deepcopy(model)

    def _root_key(self) -> str:
        recipe = self.recipe
        return step_key(
            "",
            {
                "model": recipe.model,
                "options": dict(recipe.model_options),
                "weights": model_digest(self.prepared.model),
                "data": data_fingerprint(self.job),
                "source": self.prepared.source,
                "seed": recipe.seed,
                "batch": recipe.batch,
                "device": self.job.device,
                "amp": recipe.amp,
                "loss": recipe.loss,
                "metric": recipe.metric,
                "environment": environment(),
                "torch_threads": _torch_threads(),
            },
        )


def model_digest(model: Any) -> str:
    """SHA-256 of a model's weights, or of an ONNX graph's bytes."""
    if isinstance(model, onnx.ModelProto):
        return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def _silent(message: str) -> None:
    """Say nothing."""
