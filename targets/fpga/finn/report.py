"""FINN's reports as one: each layer's folding, cycles and resources, and what the network costs on the board."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput
from edgekit.target import Board
from targets.fpga.finn.build import CONFIG, FINN
from targets.fpga.finn.check import Check, checks_in
from targets.fpga.finn.estimate import OUTPUT
from targets.fpga.finn.figure import Figure
from targets.fpga.finn.read_back import RESOURCES, Synthesis, board_in, simulation_in, synthesis_in

NOT_SYNTHESISED = (
    "not measured: the build folder has no output/report/{file}; run its build.py on a machine with Vivado"
)
NOT_ON_BOARD = (
    "not measured: the build folder has no nw_metrics.txt or report_throughput_test.json; run the driver on the "
    "board and copy its file there"
)
NOT_COUNTED = "not measured: a board does not count its resources"
NOT_MODELLED = "FINN has no model of these layers' LUT and counts them as 0: the total is too low"


@dataclass(frozen=True)
class Layer:
    """A hardware layer: FINN's name, the layer of the file it serves, its folding, cycles a frame, resources."""

    name: str
    source: str
    pe: int | None
    simd: int | None
    cycles: int
    resources: Mapping[str, Figure]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        figures = {name: figure.to_json() for name, figure in self.resources.items()}
        return {**asdict(self), "resources": figures}


@dataclass(frozen=True)
class FinnReport:
    """What a network costs on a board, each figure estimated, synthesised and measured.

    `interval_cycles` lie between two frames and are those of the slowest layer, the `bottleneck`. The estimated
    latency is FINN's: every layer waits for the one before. `unmodelled` names the layers FINN counts as 0 LUT.
    """

    board: str
    clock_mhz: float
    target_fps: int | None
    layers: tuple[Layer, ...]
    resources: Mapping[str, Figure]
    available: Mapping[str, float]
    interval_cycles: Figure
    fps: Figure
    latency_ms: Figure
    bottleneck: Layer
    slack_ns: float | None
    fmax_mhz: float | None
    checks: tuple[Check, ...]
    unmodelled: tuple[str, ...]
    not_measured: Mapping[str, str]

    def percent(self, resource: str) -> Figure:
        """A resource in percent of what the board has; None where the board's facts do not say."""
        return self.resources[resource].percent(self.available.get(resource))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        resources = {
            name: {
                **figure.to_json(),
                "available": self.available.get(name),
                "percent": self.percent(name).to_json(),
            }
            for name, figure in self.resources.items()
        }
        figures = {name: getattr(self, name).to_json() for name in ("interval_cycles", "fps", "latency_ms")}
        return {
            "schema": 1,
            "tool": f"finn-plus {FINN}",
            "board": self.board,
            "clock_mhz": self.clock_mhz,
            "target_fps": self.target_fps,
            **figures,
            "resources": resources,
            "bottleneck": self.bottleneck.name,
            "slack_ns": self.slack_ns,
            "fmax_mhz": self.fmax_mhz,
            "layers": [layer.to_json() for layer in self.layers],
            "verification": [check.to_json() for check in self.checks],
            "unmodelled": list(self.unmodelled),
            "not_measured": dict(self.not_measured),
        }


def read_report(build: Path, board: Board, *, output: str = OUTPUT) -> FinnReport:
    """The report of a build folder for a board; its facts lut, bram18, dsp and uram are the wholes.

    `output` names the folder of the estimate; where it is absent, the whole build's own estimate is read.
    BadInput where there is neither.
    """
    config = _json(build / CONFIG)
    estimated = build / output if (build / output / "report").is_dir() else build / config["output_dir"]
    report, built = estimated / "report", build / config["output_dir"] / "report"
    clock = 1e3 / config["synth_clk_period_ns"]
    network = _json(report / "estimate_network_performance.json")
    counts = _json(report / "estimate_layer_resources.json")
    made, simulated, measured = synthesis_in(built), simulation_in(built, clock), board_in(build)
    layers = _layers(report, estimated, counts, made)
    return FinnReport(
        board=board.name,
        clock_mhz=clock,
        target_fps=_target(estimated, config),
        layers=layers,
        resources={
            name: Figure(float(counts["total"][key]), made.total.get(name)) for name, key in RESOURCES.items()
        },
        available={name: float(board.facts[name]) for name in RESOURCES if board.facts.get(name) is not None},
        interval_cycles=Figure(network["max_cycles"], simulated.interval_cycles, measured.interval_cycles),
        fps=Figure(network["estimated_throughput_fps"], simulated.fps, measured.fps),
        latency_ms=Figure(network["estimated_latency_ns"] / 1e6, simulated.latency_ms, measured.latency_ms),
        bottleneck=next(layer for layer in layers if layer.name == network["max_cycles_node_name"]),
        slack_ns=made.slack_ns,
        fmax_mhz=made.fmax_mhz,
        checks=checks_in(estimated, build) if (build / "expected_output.npy").is_file() else (),
        unmodelled=tuple(layer.name for layer in layers if layer.resources["lut"].estimated is None),
        not_measured=_reasons(layers, made, bool(simulated.source), bool(measured.source)),
    )


def _layers(report: Path, output: Path, counts: dict[str, Any], made: Synthesis) -> tuple[Layer, ...]:
    cycles = _json(report / "estimate_layer_cycles.json")
    folding = _folding(report, output)
    sources = _json(report / "layers.json") if (report / "layers.json").is_file() else {}
    return tuple(
        Layer(
            name,
            sources.get(name, ""),
            folding.get(name, {}).get("PE"),
            folding.get(name, {}).get("SIMD"),
            int(count),
            {
                resource: Figure(_estimated(counts[name], key), made.layers.get(name, {}).get(resource))
                for resource, key in RESOURCES.items()
            },
        )
        for name, count in cycles.items()
    )


def _estimated(row: dict[str, Any], key: str) -> float | None:
    """No hardware is made of 0 LUT: FINN has no model for it."""
    return None if key == "LUT" and not row[key] else float(row[key])


def _folding(report: Path, output: Path) -> dict[str, Any]:
    """PE and SIMD by layer: as applied from a file, else as found for the frame rate."""
    for path in (report / "applied_folding_config.json", report / "auto_folding_config.json"):
        if path.is_file():
            return dict(_json(path))
    old = output / "auto_folding_config.json"  # where Xilinx's FINN writes it
    return dict(_json(old)) if old.is_file() else {}


def _target(output: Path, config: dict[str, Any]) -> int | None:
    """The frame rate that the folding was made for."""
    task = output / "task.json"
    found = _json(task)["config"] if task.is_file() else config
    return None if found.get("folding_config_file") else found.get("target_fps")


def _reasons(layers: tuple[Layer, ...], made: Synthesis, simulated: bool, measured: bool) -> dict[str, str]:
    reasons = {"resources.measured": NOT_COUNTED}
    if not made.source:
        reasons["resources.synthesised"] = NOT_SYNTHESISED.format(file="post_synth_resources.json")
    if made.slack_ns is None:
        reasons["slack_ns"] = NOT_SYNTHESISED.format(file="post_route_timing.rpt")
    if not simulated:
        reasons["fps.synthesised"] = NOT_SYNTHESISED.format(file="rtlsim_performance.json")
    if not measured:
        reasons["fps.measured"] = NOT_ON_BOARD
    if any(layer.resources["lut"].estimated is None for layer in layers):
        reasons["layers.lut.estimated"] = NOT_MODELLED
    return reasons


def _json(path: Path) -> Any:
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file. Run the estimate of this build folder first.")
    return json.loads(path.read_text(encoding="utf-8"))
