"""The choice by measurement: which layers run in integers, on the machine that is the board.

Under `objective: latency` the fp32 file, the full int8 file and files that keep suspicious layers in float take
turns on the clock, under `objective: energy` at the power sensor. A quantized file is taken only if its gain over
fp32 has a 95 % lower bound of `FLOOR`.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekit.profile import clock as clocks
from edgekit.profile.interleave import Ratio, Timing, interleave, ratio
from edgekit.profile.latency import caller
from edgekit.quant.placement import WEIGHTED, place, site_of
from edgekit.quant.quantization import Quantization
from edgekit.target import Board, Target

FLOOR = 0.98  # a slower artefact than this is no gain
MOST_SUSPECTS = 4
SESSIONS = 6


@dataclass(frozen=True)
class Measurer:
    """Exports candidates of one float graph and measures them against each other on this machine.

    compare: gains over the first of several files, in their order; by default in time.
    """

    graph: onnx.ModelProto
    quantization: Quantization
    board: Board
    target: Target
    feeds: Mapping[str, np.ndarray]
    threads: int = 1
    compare: Callable[[Mapping[str, Path]], Mapping[str, Ratio]] | None = None

    def choose(self) -> dict[str, Any]:
        """{"precision", "float_layers", "measured": {candidate: {"ratio", "ci95"}}, "kept_in_float": [...]}."""
        with tempfile.TemporaryDirectory(prefix="edgekit-choose-") as folder:
            return self._choose(Path(folder))

    def _choose(self, folder: Path) -> dict[str, Any]:
        suspects = self._suspects(folder)
        layers: dict[str, tuple[str, ...] | None] = {"fp32": None, self.quantization.precision: ()}
        for count in range(1, len(suspects) + 1):
            layers[f"float {', '.join(name for name, *_ in suspects[:count])}"] = tuple(
                s[0] for s in suspects[:count]
            )
        files = {
            name: self._export(folder / f"{index}.onnx", kept)
            for index, (name, kept) in enumerate(layers.items())
        }
        compare = self.compare or self._speed_ups
        ratios = compare({name: path for name, path in files.items() if path is not None})
        gains = [name for name in ratios if name != "fp32" and ratios[name].low >= FLOOR]
        chosen = max(gains, key=lambda name: ratios[name].value, default="fp32")
        kept = layers[chosen] or ()
        return {
            "precision": "fp32" if chosen == "fp32" else self.quantization.precision,
            "float_layers": list(kept),
            "measured": {
                name: {"ratio": value.value, "ci95": [value.low, value.high]}
                for name, value in ratios.items()
            },
            "kept_in_float": [
                {
                    "layer": name,
                    "int8_us": slow,
                    "float_us": fast,
                    "reason": "slower in int8 than in float on this machine",
                }
                for name, slow, fast in suspects
                if name in kept
            ],
        }

    def _speed_ups(self, files: Mapping[str, Path]) -> dict[str, Ratio]:
        timings = time_files(files, self.target, self.feeds, threads=self.threads)
        return {name: ratio(timings["fp32"], timing) for name, timing in timings.items()}

    def _suspects(self, folder: Path) -> list[tuple[str, float, float]]:
        """(layer, int8 us, float us) of the layers whose int8 operators take longer, worst first."""
        if self.quantization.precision != "int8":
            return []
        quantized, plain = self._table(folder / "int8.onnx", ()), self._table(folder / "float.onnx", None)
        weighted = {str(site.module) for site in self.quantization.weights}
        worse = [
            (layer, time, plain[layer])
            for layer, time in quantized.items()
            if layer in weighted and layer in plain and time > 1.1 * plain[layer]
        ]
        return sorted(worse, key=lambda row: row[2] - row[1])[:MOST_SUSPECTS]

    def _table(self, path: Path, kept: tuple[str, ...] | None) -> dict[str, float]:
        """Microseconds by layer of a file."""
        exported = self._export(path, kept)
        runner: Any = self.target.runner(exported or path, threads=self.threads)
        return _by_layer(runner.operator_times(self.feeds))

    def _export(self, path: Path, kept: tuple[str, ...] | None) -> Path | None:
        quantization = (
            None
            if kept is None
            else restricted(self.graph, self.quantization, self.target.caps(self.board), kept)
        )
        if kept is not None and quantization is None:
            return None
        return self.target.export(self.graph, quantization, self.board, path).path


def restricted(
    graph: onnx.ModelProto, quantization: Quantization, caps: Any, float_layers: tuple[str, ...]
) -> Quantization | None:
    """The quantization without some layers: the sites that are left when they stay in float, or None if none is."""
    if not float_layers:
        return quantization
    placement = place(graph, caps, exclude=tuple(glob.escape(layer) for layer in float_layers))
    of_tensor = {
        node.input[1]: site
        for node in graph.graph.node
        if node.op_type in WEIGHTED
        for site in [site_of(node, "weight")]
        if site in quantization.weights
    }
    weights = {
        of_tensor[name]: quantization.weights[of_tensor[name]]
        for name in placement.weights
        if name in of_tensor
    }
    activations = {
        site: quantization.activations[site]
        for site in placement.activations.values()
        if site in quantization.activations
    }
    return Quantization(quantization.precision, activations, weights) if weights else None


def time_files(
    files: Mapping[str, Path],
    target: Target,
    feeds: Mapping[str, np.ndarray],
    *,
    threads: int = 1,
    rounds: int = 30,
    seconds: float | None = None,
) -> dict[str, Timing]:
    """Interleaved timings of several artefacts on pinned cores; longer for slow networks.

    The rounds are spread over `SESSIONS` fresh sessions, and a session gives one figure a file: where its memory
    lies makes the same bytes some percent faster or slower in one session than in the next, which rounds within
    one session cannot see.
    """
    parts = [
        _session(files, target, feeds, threads, max(2, rounds // SESSIONS), seconds) for _ in range(SESSIONS)
    ]
    return {name: _pooled([part[name] for part in parts]) for name in files}


def _pooled(sessions: list[Timing]) -> Timing:
    """A round a session; of the calls as many as the shortest session made."""
    shortest = min(timing.calls.size for timing in sessions)
    calls = np.stack([timing.calls.reshape(-1)[:shortest] for timing in sessions])
    return Timing(rounds=np.array([timing.typical for timing in sessions]), calls=calls)


def _session(
    files: Mapping[str, Path],
    target: Target,
    feeds: Mapping[str, np.ndarray],
    threads: int,
    rounds: int,
    seconds: float | None,
) -> dict[str, Timing]:
    with clocks.pinned(threads):
        runs: dict[str, Callable[[], object]] = {
            name: caller(target.runner(path, threads=threads), feeds) for name, path in files.items()
        }
        slowest = max(clocks.timed(run) for run in runs.values()) / 1e9
        total = (
            min(20.0, max(2.0, slowest * rounds * SESSIONS * 5 * len(runs))) if seconds is None else seconds
        )
        return interleave(runs, rounds=rounds, seconds=total / SESSIONS, warmup=0.05)


def _by_layer(rows: Any) -> dict[str, float]:
    layers: dict[str, float] = {}
    for row in rows:
        if row.layer:
            layers[row.layer] = layers.get(row.layer, 0.0) + row.microseconds
    return layers
