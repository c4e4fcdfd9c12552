"""One board's part of a run: baseline, figures after each step, choice, audit, report and the folder's files."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekit.analysis.graph_cost import graph_cost
from edgekit.change import Change, Cost
from edgekit.choose import SESSIONS, Measurer, restricted, time_files
from edgekit.errors import BadInput
from edgekit.job import Job
from edgekit.journal import Journal, environment
from edgekit.measure import Bench, with_energy
from edgekit.metric import Score
from edgekit.profile.energy_run import EnergyPlan
from edgekit.profile.interleave import ratio
from edgekit.profile.statistics import mean_interval
from edgekit.quant.quantization import Quantization, quantization_of
from edgekit.recipe import Recipe
from edgekit.report.report import Measured, Report, StepRecord, paired_operators
from edgekit.target import Aims, Artefact, Audit, Board, Target

GOLDEN = 8  # samples that a board compares itself with


@dataclass
class BoardRun:
    """Everything that is measured and written for one board."""

    recipe: Recipe
    job: Job
    board: Board
    target: Target
    folder: Path
    journal: Journal
    say: Any
    energy: EnergyPlan | None = None
    steps: list[StepRecord] = field(default_factory=list)
    baseline: tuple[Measured, Score | None] | None = None

    @property
    def bench(self) -> Bench:
        """Where this board's artefacts are measured."""
        plan = self.energy or (EnergyPlan() if self.recipe.objective == "energy" else None)
        return Bench(self.job, self.board, self.target, self.recipe.threads, plan)

    def graph(self, model: Any) -> onnx.ModelProto:
        """The fused fp32 graph of a torch module; an ONNX graph is one already."""
        if isinstance(model, onnx.ModelProto):
            return model
        outputs = [spec.name for spec in self.job.signature.outputs]
        own = getattr(self.target, "graph", None)
        if own is not None:
            return own(model.cpu(), self.job.example, outputs)
        from edgekit.export.to_onnx import to_onnx

        return to_onnx(model.cpu(), self.job.example, output_names=outputs)

    def rehearse(self, model: Any, quantization: Quantization | None) -> None:
        """Export once and load the file, as the dry run's last act."""
        self._refuse_unseen_energy()
        graph, check = self.graph(model), getattr(self.target, "check", None)
        if check is not None:
            check(self.board, self.aims, graph)
        with tempfile.TemporaryDirectory(prefix="edgekit-dry-") as folder:
            path = Path(folder) / "model.onnx"
            self.target.export(graph, quantization, self.board, path)
            self.target.runner(path).run(self.bench.feeds())

    def _refuse_unseen_energy(self) -> None:
        if self.recipe.objective != "energy":
            return
        try:
            self.bench.sensor()
        except BadInput as error:
            line = self.recipe.where("objective")
            where = f" ({line})" if line else ""
            raise BadInput(
                f"objective: energy{where}: {str(error).rstrip('.')}. Choose latency or size."
            ) from error

    def measure_baseline(self, model: Any) -> None:
        """Export the model as it was given, in fp32, and measure it."""
        self.say(f"baseline on {self.board.title}")
        graph = self.graph(model)
        path = self.target.export(graph, None, self.board, self.folder / "baseline.onnx").path
        self.baseline = self.bench.figures(path, graph_cost(graph))

    def measure_step(self, name: str, model: Any, change: Change, entries: Any) -> None:
        """Export what a step gave and measure it quickly, for the report's curve."""
        graph = self.graph(model)
        with tempfile.TemporaryDirectory(prefix="edgekit-step-") as folder:
            path = Path(folder) / "model.onnx"
            self.target.export(graph, quantization_of(entries), self.board, path)
            figures = self.bench.figures(path, self._cost(graph, change), quick=True)
            self.steps.append(StepRecord(name, change, figures[0]))

    def finish(self, model: Any, entries: Any, *, seconds: float) -> dict[str, Any]:
        """Choose, export, audit, measure, and write the report and the folder's files."""
        graph, quantization = self.graph(model), quantization_of(entries)
        decision = self._decide(graph, quantization)
        artefact = self._export(graph, quantization, decision)
        self._write_float(model, graph)
        self.say("audit and measurement of the artefact")
        last = self.steps[-1].change if self.steps else None
        result, score = self.bench.figures(artefact.path, self._cost(graph, last))
        self._write_beside(artefact, graph)
        return self._report(artefact, decision, result, score, seconds).save(self.folder)

    def _decide(self, graph: onnx.ModelProto, quantization: Quantization | None) -> dict[str, Any]:
        if quantization is None:
            return {"precision": "fp32", "float_layers": [], "kept_in_float": []}
        if self.recipe.objective == "size" or not self.bench.here:
            return {"precision": quantization.precision, "float_layers": [], "kept_in_float": []}
        self.say("measuring fp32, int8 and mixed files against each other")
        measurer = Measurer(
            graph,
            quantization,
            self.board,
            self.target,
            self.bench.feeds(),
            self.recipe.threads,
            self.bench.energy_ratios if self.recipe.objective == "energy" else None,
        )
        return self.journal.decide(f"{self.board.name}/precision", measurer.choose)

    def _export(
        self, graph: onnx.ModelProto, quantization: Quantization | None, decision: dict[str, Any]
    ) -> Artefact:
        if decision["precision"] == "fp32":
            quantization = None
        elif quantization is not None:
            quantization = (
                restricted(graph, quantization, self.target.caps(self.board), tuple(decision["float_layers"]))
                or quantization
            )
        return self.target.export(graph, quantization, self.board, self.folder / "model.onnx")

    def _cost(self, graph: onnx.ModelProto, change: Change | None) -> Cost:
        """Of a graph; of one with quantizers of its own what its step found, since those are no layers."""
        return change.after if change is not None and self.bench.low_bit else graph_cost(graph)

    def _write_float(self, model: Any, graph: onnx.ModelProto) -> None:
        if self.bench.low_bit:
            return  # the trained network has no float form: its quantizers are part of it
        self.target.export(graph, None, self.board, self.folder / "model_float.onnx")
        if isinstance(model, onnx.ModelProto):
            return
        import torch

        from edgekit.export.to_onnx import silence

        with silence():
            program = torch.export.export(model.cpu().eval(), tuple(self.job.example.values()), strict=False)
            torch.export.save(program, self.folder / "model_float.pt2")

    def _report(
        self,
        artefact: Artefact,
        decision: dict[str, Any],
        result: Measured,
        score: Score | None,
        seconds: float,
    ) -> Report:
        if self.baseline is None:
            raise RuntimeError("measure_baseline comes first")
        reasons: dict[str, str] = {}
        audit: Audit = self.target.audit(artefact.path)
        figures = getattr(self.target, "figures", None)
        speed, operators = self._compare(artefact, reasons)
        before, base_score = self.baseline
        before, result, saving = self._energies(artefact, before, result)
        return Report(
            board=self.board.name,
            target=self.target.name,
            model=self.recipe.model,
            seed=self.recipe.seed,
            versions={name: str(value) for name, value in environment().items()},
            baseline=before,
            result=result,
            artefact=artefact.path.name,
            precision=artefact.precision,
            audit=audit.to_json(),
            steps=tuple(self.steps),
            objective=self.recipe.objective,
            ratio={
                "latency": speed,
                "size": before.bytes / result.bytes if before.bytes and result.bytes else None,
                "energy": saving,
            },
            drop=self._drop(base_score, score, reasons),
            budget=self._budget(),
            operators=tuple(operators),
            kept_because=self._kept_because(decision),
            kept_in_float=tuple(decision["kept_in_float"]),
            findings=tuple(asdict(finding) for finding in audit.findings),
            on_board=figures(self.folder, self.board) if figures is not None else (),
            environment=self._environment(),
            measuring=self._measuring(),
            timing={"total": round(seconds, 2)},
            not_measured=reasons,
        )

    def _compare(
        self, artefact: Artefact, reasons: dict[str, str]
    ) -> tuple[dict[str, Any] | None, list[Any]]:
        if not self.bench.here:
            reasons["ratio.latency"] = f"{self.board.name} is not the machine that ran this"
            return None, []
        files = {"baseline": self.folder / "baseline.onnx", "result": artefact.path}
        feeds, threads = self.bench.feeds(), self.recipe.threads
        timings = time_files(files, self.target, feeds, threads=threads)
        value = ratio(timings["baseline"], timings["result"])
        tables = [
            self.target.runner(path, threads=threads).operator_times(feeds)  # type: ignore[attr-defined]
            for path in files.values()
        ]
        return {"value": value.value, "ci95": [value.low, value.high]}, paired_operators(*tables)

    def _energies(
        self, artefact: Artefact, before: Measured, result: Measured
    ) -> tuple[Measured, Measured, dict[str, Any] | None]:
        """Baseline and result with their energy, in turns, and how many times as much the baseline takes."""
        if self.bench.energy is not None and self.bench.here:
            self.say("energy of the baseline and the artefact")
        found = self.bench.energies({"baseline": self.folder / "baseline.onnx", "result": artefact.path})
        return (
            with_energy(before, found, "baseline"),
            with_energy(result, found, "result"),
            found.gains.get("result"),
        )

    def _drop(
        self, before: Score | None, after: Score | None, reasons: dict[str, str]
    ) -> dict[str, Any] | None:
        if before is None or after is None:
            reasons["drop"] = "the metric was not measured"
            return None
        drop = after.drop_from(before)
        if before.samples is None or after.samples is None or len(before.samples) < 2:
            return {"value": drop, "ci95": None}
        sign = 1.0 if before.higher_is_better else -1.0
        interval = mean_interval(sign * (np.asarray(before.samples) - np.asarray(after.samples)))
        return {"value": drop, "ci95": [interval.low, interval.high]}

    def _budget(self) -> dict[str, float]:
        names = {"latency_ms": "latency_ms", "size_bytes": "max_bytes", "max_drop": "max_drop"}
        given = {new: getattr(self.recipe.budget, old) for old, new in names.items()}
        if self.bench.low_bit:
            given |= {"fps": self.recipe.budget.fps, "lut": self.recipe.budget.lut}
        return {name: float(value) for name, value in given.items() if value is not None}

    def _kept_because(self, decision: dict[str, Any]) -> str | None:
        tried = {
            name: value["ratio"] for name, value in decision.get("measured", {}).items() if name != "fp32"
        }
        if decision["precision"] != "fp32" or not tried:
            return None
        name, best = max(tried.items(), key=lambda item: item[1])
        if self.recipe.objective == "energy":
            return f"the best quantized file ({name}) takes {1 / best:.2f}x the energy of fp32 here"
        return f"the best quantized file ({name}) runs at {best:.2f}x the speed of fp32 here"

    def _environment(self) -> dict[str, Any]:
        facts = {name: value for name, value in self.board.facts.items() if name != "sources"}
        return {**facts, "machine": self.board.title}

    def _measuring(self) -> dict[str, Any]:
        return {
            "threads": self.recipe.threads,
            "batch": 1,
            "pinned": True,
            "spinning": False,
            "rounds": 30,
            "sessions": SESSIONS,
            "interval": "Student t over trimmed log ratios of interleaved rounds, one figure a fresh session",
            "command": f"edgekit compress {self.folder}/recipe.yaml",
        }

    def _write_beside(self, artefact: Artefact, graph: onnx.ModelProto) -> None:
        from edgekit.report.folder import write_io_json, write_run_example

        write_io_json(self.job.signature, self.folder / "io.json")
        if not self.bench.low_bit:
            write_run_example(self.folder / "run_example.py")
        accompany = getattr(self.target, "accompany", None)
        if accompany is not None:
            self.say(f"what {self.board.name} needs beside the artefact")
            accompany(self.folder, graph, self._golden(artefact), self.board, self.aims, self.say)

    @property
    def aims(self) -> Aims:
        """What the recipe asks of the board's own tools."""
        budget, folding = self.recipe.budget, self.recipe.folding
        limits = {} if budget.lut is None else {"lut": float(budget.lut)}
        return Aims(budget.fps, None if folding is None else Path(folding), limits)

    def _golden(self, artefact: Artefact) -> dict[str, np.ndarray]:
        """Some real inputs, and what the artefact makes of them here, by name."""
        feeds = self.bench.feeds(GOLDEN)
        return {**feeds, **self.target.runner(artefact.path).run(feeds)}
