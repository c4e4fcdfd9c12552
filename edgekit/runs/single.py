"""One run with one seed in one folder: lines, checkpoints, resume."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit import tensor_file
from edgekit.decentralized.event_engine import EventEngine
from edgekit.decentralized.partition.shares import save
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.snapshot import Snapshot
from edgekit.decentralized.vector_engine import VectorEngine
from edgekit.errors import BadInput
from edgekit.journal import read_json, write_json
from edgekit.runs.assemble import Assembled
from edgekit.runs.line import Line, Traffic

Say = Callable[[str], None]
LINES, FACTS, PARTITION = "run.jsonl", "checkpoint.json", "partition.npz"
CHECKPOINT_SECONDS = 30.0
ADVICE = "Free space there, or choose another --out; the lines so far are kept."


class SingleRun:
    """Drives an assembled run to its last round; a killed one goes on from its checkpoint with the same bits."""

    def __init__(
        self, made: Assembled, folder: Path, *, on_line: Callable[[Line], None] | None = None
    ) -> None:
        self.made, self.folder = made, folder
        self.engine, self.run = made.engine, made.run
        self._on_line = on_line or (lambda line: None)
        self._seconds, self._losses, self._saved = 0.0, [], time.monotonic()  # type: tuple[float, list[float], float]
        folder.mkdir(parents=True, exist_ok=True)

    def finish(self) -> dict[str, Any]:
        """Run what is left; the last line."""
        if not (self.folder / PARTITION).exists():
            save(self.folder / PARTITION, list(self.made.shares.values()))
        if (self.folder / FACTS).exists():
            self._restore()
        else:
            (self.folder / LINES).unlink(missing_ok=True)  # killed before its first checkpoint
        if self.engine.number == 0:
            self._write_line()
        while self.engine.number < self.run.rounds:
            self._change_roster()
            start = time.perf_counter()
            self._losses.append(self.engine.round())
            self._seconds += time.perf_counter() - start
            self._refuse_nan()
            if self.engine.number % self.run.evaluate_every == 0 or self.engine.number == self.run.rounds:
                self._write_line()
                self._checkpoint()
        return Line.of(self._lines()[-1])

    def _change_roster(self) -> None:
        for event in self.run.membership:
            if event.round == self.engine.number and isinstance(self.engine, VectorEngine):
                ids = set(self.engine.roster.ids) - set(event.leave) | set(event.join)
                self.engine.change_roster(self._roster(ids))

    def _roster(self, ids: set[int]) -> Roster:
        whole = self.made.roster
        return whole.without(frozenset(set(whole.ids) - ids))

    def _refuse_nan(self) -> None:
        if not math.isfinite(self._losses[-1]):
            raise BadInput(
                f"round {self.engine.number}: the training loss is {self._losses[-1]}, so the run has diverged. Lower "
                f"lr (now {self.engine.context.lr:g}) or the algorithm's gamma; what was computed is in {self.folder}."
            )

    def _write_line(self) -> None:
        line = self._line()
        with open(self.folder / LINES, "a", encoding="utf-8") as file:
            file.write(line.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._on_line(line)

    def _line(self) -> Line:
        engine, made = self.engine, self.made
        models = engine.models
        seen = made.evaluator.evaluate(models, made.buffers, made.evaluator.chosen(len(models)))
        losses, self._losses = self._losses, []
        reasons = {}
        if seen.local is None:
            reasons["local_metric"] = "the data have no class labels, or the metric gives no score a sample"
        if self._virtual() is None:
            reasons["virtual_seconds"] = "the run file has no links"
        waited = self._waited()
        if waited is None:
            reasons["waited_share"] = "the run file has no links with seconds_per_gradient"
        draws = zip(engine.roster.ids, engine.context.draws.tolist(), strict=True)
        epochs = [made.objective.sampler.epochs(agent, count) for agent, count in draws]
        sent = engine.ledger.bytes
        return Line(
            round=engine.number,
            epoch=round(float(np.mean(epochs)), 4),
            agents=len(models),
            metric_name=made.evaluator.name,
            agent_metric=seen.agents,
            mean_model_metric=seen.mean_model,
            local_metric=seen.local,
            train_loss=float(np.mean(losses)) if losses else None,
            test_loss=_finite(seen.loss),
            lr=engine.context.lr,
            gradient_evaluations=float(engine.context.gradients.mean()),
            consensus_distance=_finite(_consensus(models)),
            bytes_sent=Traffic(float(sent.mean()), float(sent.max()), int(sent.sum())),
            messages_sent=int(engine.ledger.messages.sum()),
            seconds=round(self._seconds, 3),
            virtual_seconds=self._virtual(),
            waited_share=waited,
            joules_a_round=None,
            not_measured={**reasons, "joules_a_round": "simulated agents have no power sensor"},
        )

    def _virtual(self) -> float | None:
        if self.run.links is None:
            return None
        if isinstance(self.engine, EventEngine):
            return self.engine.seconds
        return self.engine.clock.seconds if self.engine.clock is not None else None

    def _waited(self) -> float | None:
        """The share of virtual time in which an agent takes no gradients, mean; None where gradients take no time."""
        links, virtual, speeds = self.run.links, self._virtual(), self.engine.roster.speeds
        if links is None or not virtual or speeds is None or not links.seconds_per_gradient:
            return None
        computing = self.engine.context.gradients * links.seconds_per_gradient / speeds
        return max(0.0, 1.0 - float(computing.mean()) / virtual)

    def _checkpoint(self) -> None:
        done = self.engine.number == self.run.rounds
        if not done and time.monotonic() - self._saved < CHECKPOINT_SECONDS:
            return
        self._saved = time.monotonic()
        if done:
            write_json(
                self.folder / FACTS, {"number": self.engine.number, "done": True, "lines": len(self._lines())}
            )
            self._drop_old("")
            return
        found = self.engine.snapshot()
        name = f"checkpoint-{self.engine.number}.safetensors"
        tensor_file.write(self.folder / name, found.tensors, "checkpoint", ADVICE)
        facts = {
            **found.facts,
            "file": name,
            "seconds": self._seconds,
            "lines": len(self._lines()),
            "done": False,
        }
        write_json(self.folder / FACTS, facts)  # names the tensors, so it is written after them
        self._drop_old(name)

    def _drop_old(self, kept: str) -> None:
        for old in self.folder.glob("checkpoint-*.safetensors"):
            if old.name != kept:
                old.unlink()

    def _restore(self) -> None:
        facts = read_json(self.folder / FACTS)
        self._keep_lines(facts["lines"])
        if facts["done"]:
            self.engine.number = facts["number"]
            return
        ids = set(facts.get("ids", self.engine.roster.ids))
        if isinstance(self.engine, VectorEngine) and ids != set(self.engine.roster.ids):
            self.engine.change_roster(self._roster(ids))
        self.engine.restore(Snapshot(tensor_file.read(self.folder / facts["file"]), facts))
        self._seconds = facts["seconds"]

    def _lines(self) -> list[str]:
        return (self.folder / LINES).read_text(encoding="utf-8").splitlines()

    def _keep_lines(self, count: int) -> None:
        """Drop the lines that were written after the checkpoint; they are computed again."""
        kept = self._lines()[:count]
        temporary = self.folder / f"{LINES}.tmp"
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(temporary, self.folder / LINES)


def _consensus(models: torch.Tensor) -> float:
    """(1/n) sum_i |x_i - mean|^2, counted from the first row, so that equal models are exactly 0 apart."""
    first = models[0]
    mean = (models - first).mean(0)
    return float(sum(float((row - first - mean).square().sum()) for row in models) / len(models))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """All lines of a run's folder; a torn last one is left out."""
    path = folder / LINES
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(text))
        except ValueError:
            break
    return found
