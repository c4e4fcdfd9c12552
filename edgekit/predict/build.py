"""Building a table on the board: kernels of random networks, measured one by one, until the time is spent."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from edgekit.errors import BadInput
from edgekit.predict.bench import Bench, open_bench
from edgekit.predict.fit import rough
from edgekit.predict.graph import read_kernels
from edgekit.predict.kernel import Kernel
from edgekit.predict.plan import Plan
from edgekit.predict.predict import Predictor
from edgekit.predict.probes import probe
from edgekit.predict.sketch import rough_quantization
from edgekit.predict.table import Table, arrays, facts_of, load_table
from edgekit.progress import Progress, Silent
from edgekit.target import Board, find_target

PROBES: Final = 240
NETWORKS: Final = 40
FIRST_NETWORK: Final = 100_000  # seeds of networks measured whole, whose kernels the table does not hold
FOR_NETWORKS: Final = 0.15  # of the time
FOR_DOUBTS: Final = 0.15
DOUBT: Final = 0.2  # of log time
SAVE_EVERY: Final = 15.0  # seconds
SHORTEST, LONGEST = 2e-4, 2e-3  # seconds of a chain of one kernel


def build(
    path: Path,
    board: Board,
    *,
    minutes: float,
    threads: int = 1,
    seed: int = 0,
    probes: int = PROBES,
    networks: int = NETWORKS,
    files: Sequence[Path] = (),
    progress: Progress | None = None,
) -> Table:
    """Measure for `minutes` and write the table to `path`; a table there that is not finished is gone on with.

    Kernels are those of `files`, then of so many `probes`; `networks` others are measured whole. It ends early when
    all are measured. A finished table is only added the kernels of `files`.

    BadInput where `path` holds a table of another board, runtime, seed or number of threads, or a finished one and
    there are no files.
    """
    target = find_target(board.target)
    asked = [kernel for file in files for _, kernel in read_kernels(file, target)]
    table = _opened(path, facts_of(board, threads=threads, seed=seed), more=bool(asked))
    builder = Builder(table, path, board, seconds=60 * minutes, progress=progress or Silent())
    with open_bench(target, threads=threads) as bench:
        builder.run(bench, asked, probes=probes, networks=networks)
    return table


def _opened(path: Path, facts: dict[str, Any], *, more: bool) -> Table:
    if not path.exists():
        return Table(
            {
                **facts,
                "spent_seconds": 0.0,
                "finished": False,
                "idle": 0.0,
                "reference_seconds": 1.0,
                "networks_tried": 0,
            }
        )
    table = load_table(path)
    differs = [name for name, value in facts.items() if table.facts.get(name) != value]
    if differs or (table.facts.get("finished") and not more):
        what = f"of another {differs[0]}" if differs else "finished"
        raise BadInput(f"predict: '{path}' holds a table that is {what}. Name another --out, or delete it.")
    return table


class Builder:
    """One build: what is left of its time, and where it is saved."""

    def __init__(self, table: Table, path: Path, board: Board, *, seconds: float, progress: Progress) -> None:
        self.table, self.path, self.board, self.seconds, self.progress = table, path, board, seconds, progress
        self.target: Any = find_target(board.target)
        self.caps = self.target.caps(board)
        self._began = time.monotonic() - float(table.facts["spent_seconds"])
        self._saved = time.monotonic()
        self._before = 0.0  # seconds spent before this run

    @property
    def spent(self) -> float:
        """Seconds, those of killed runs included."""
        return time.monotonic() - self._began

    def run(self, bench: Bench, asked: list[Kernel], *, probes: int, networks: int) -> None:
        """Kernels, fits, whole networks, each saved as it comes."""
        self.table.facts["idle"] = bench.idle
        self._before = self.spent
        self.progress.start("table", max(self.seconds - self._before, 0.0))
        try:
            self._asked(bench, asked)
            self._kernels(bench, probes)
            self._doubtful(bench)
            self.table.fit()
            self._networks(bench, networks)
        finally:
            self.progress.stop()
        self.table.facts |= {"finished": True, "date": time.strftime("%Y-%m-%d", time.gmtime())}
        self._save(bench)

    def _asked(self, bench: Bench, kernels: list[Kernel]) -> None:
        known = {sample.kernel for sample in self.table.samples}
        for kernel in dict.fromkeys(kernels):
            if kernel not in known:
                self._measure(bench, kernel, length=SHORTEST)

    def _measure(self, bench: Bench, kernel: Kernel, *, length: float) -> None:
        self.table.samples.append(bench.kernel(kernel, length=length))
        self.table.networks.clear()  # what was predicted of them was without this kernel
        self._step(bench, f"{len(self.table.samples)} kernels")

    def _kernels(self, bench: Bench, probes: int) -> None:
        if self.table.facts["finished"]:
            return
        chance = random.Random(len(self.table.samples))
        plan = Plan(self._probes(probes), self.table, seed=int(self.table.facts["seed"]))
        while batch := plan.batch():
            for kernel in batch:
                if self.spent > (1 - FOR_NETWORKS - FOR_DOUBTS) * self.seconds:
                    return
                length = SHORTEST * (LONGEST / SHORTEST) ** chance.random()
                self._measure(bench, kernel, length=length)

    def _doubtful(self, bench: Bench) -> None:
        """Samples that disagree with all others of their family are measured again, the most doubtful first."""
        if self.table.facts["finished"]:
            return
        doubts = [
            (abs(doubt), place)
            for places in self.table.places().values()
            for doubt, place in zip(
                rough(*arrays([self.table.samples[p] for p in places])).doubts(), places, strict=True
            )
        ]
        for doubt, place in sorted(doubts, reverse=True):
            if doubt < DOUBT or self.spent > (1 - FOR_NETWORKS) * self.seconds:
                return
            self.table.samples[place] = bench.again(self.table.samples[place])
            self.table.networks.clear()
            self._step(bench, f"once more, {doubt:.0%} off")

    def _networks(self, bench: Bench, count: int) -> None:
        predictor, facts = Predictor(self.table), self.table.facts
        for number in range(facts.get("networks_tried", 0) if self.table.networks else 0, count):
            if self.spent > self.seconds and number >= count // 4:
                return
            for path, kernels in self._probe(FIRST_NETWORK + number):
                network, times = predictor.total(kernels, bench.file(path, {"input": _input(path)}))
                if all(item.microseconds is not None for item in times):
                    self.table.networks.append(network)
            facts["networks_tried"] = number + 1
            self._step(bench, f"{len(self.table.networks)} networks")

    def _probes(self, count: int) -> list[list[Kernel]]:
        """The kernels of every probe."""
        first = 1000 * int(self.table.facts["seed"])
        return [
            [kernel for _, kernel in kernels]
            for number in range(count)
            for _, kernels in self._probe(first + number)
        ]

    def _probe(self, seed: int) -> Iterator[tuple[Path, list[tuple[str, Kernel]]]]:
        """A probe's file in float and in int8, with its kernels."""
        graph: onnx.ModelProto = probe(seed)
        with tempfile.TemporaryDirectory(prefix="edgekit-probe-") as folder:
            for quantization in (None, rough_quantization(graph, self.caps)):
                path = self.target.export(graph, quantization, self.board, Path(folder) / "probe.onnx").path
                yield path, read_kernels(path, self.target)

    def _step(self, bench: Bench, note: str) -> None:
        self.progress.advance(min(self.spent, self.seconds) - self._before, note)
        if time.monotonic() - self._saved > SAVE_EVERY:
            self._save(bench)

    def _save(self, bench: Bench) -> None:
        self.table.facts |= {"spent_seconds": round(self.spent, 1), "reference_seconds": bench.unit}
        self.table.save(self.path)
        self._saved = time.monotonic()


def _input(path: Path) -> np.ndarray:
    model = onnx.load(path, load_external_data=False)
    shape = [size.dim_value or 1 for size in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
