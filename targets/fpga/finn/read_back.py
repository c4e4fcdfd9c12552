"""What a whole build and a board left behind: resources and timing of the synthesis, rates of simulation and board.

The files are those of FINN and of finn-plus: report/post_synth_resources*.json, ooc_synth_and_timing.json,
rtlsim_performance.json and post_route_timing.rpt of the build; nw_metrics.txt, report_throughput_test.json and
report_experiment_instrumentation.json of the drivers.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput

RESOURCES = {"lut": "LUT", "bram18": "BRAM_18K", "dsp": "DSP", "uram": "URAM"}
Counts = dict[str, float]


@dataclass(frozen=True)
class Rates:
    """Frames per second, latency in ms and cycles between frames; None where unknown. `source` is the file."""

    fps: float | None = None
    latency_ms: float | None = None
    interval_cycles: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Synthesis:
    """Resources by layer and in total, the clock's slack in ns, and the highest clock in MHz."""

    layers: dict[str, Counts] = field(default_factory=dict)
    total: Counts = field(default_factory=dict)
    slack_ns: float | None = None
    fmax_mhz: float | None = None
    source: str = ""


def synthesis_in(report: Path) -> Synthesis:
    """What Vivado used, of the whole design where it was placed, else of the accelerator alone."""
    alone = _json(report / "ooc_synth_and_timing.json") or {}
    slack = _slack(report / "post_route_timing.rpt")
    files = [path for path in sorted(report.glob("post_synth_resources*.json")) if "_dcp" not in path.name]
    if not files:
        total = _counts(alone) if alone else {}
        return Synthesis({}, total, alone.get("WNS"), alone.get("fmax_mhz"), _source(report, alone))
    found = _json(files[0]) or {}
    layers = {name: _counts(row) for name, row in found.items() if isinstance(row, dict)}
    total = layers.pop("(top)", {})
    slack = alone.get("WNS") if slack is None else slack
    return Synthesis(layers, total, slack, alone.get("fmax_mhz"), files[0].name)


def simulation_in(report: Path, clock_mhz: float) -> Rates:
    """The rates of the cycle-accurate simulation of the generated hardware."""
    path = report / "rtlsim_performance.json"
    found = _json(path)
    if not found:
        return Rates()
    if isinstance(found, dict):  # Xilinx's FINN
        fps = found.get("stable_throughput[images/s]") or found.get("throughput[images/s]")
        cycles, interval = found.get("latency_cycles"), found.get("interval_cycles")
    else:  # finn-plus: an entry an output
        fps = min((item["throughput_fps"] for item in found), default=None)
        interval = max((item["intervals"][0] for item in found if item.get("intervals")), default=None)
        cycles = max(
            (max(item["latency_cycles"]) for item in found if item.get("latency_cycles")), default=None
        )
    latency = None if not cycles else cycles / clock_mhz / 1e3
    return Rates(fps, latency, interval, path.name)


def board_in(build: Path) -> Rates:
    """The rates that a driver wrote down on the board, wherever in the build folder its file was put."""
    for name, read in (
        ("report_experiment_instrumentation.json", _instrumented),
        ("report_throughput_test.json", _throughput),
        ("nw_metrics.txt", _throughput),
    ):
        for path in sorted(build.rglob(name)):
            return read(_metrics(path), path.name)
    return Rates()


def _instrumented(found: dict[str, Any], source: str) -> Rates:
    fps = found.get("avg_throughput_fps") or found.get("throughput_fps") or None
    return Rates(
        fps, found.get("avg_latency_ms") or found.get("latency_ms"), found.get("interval_cycles"), source
    )


def _throughput(found: dict[str, Any], source: str) -> Rates:
    """A run of one frame is a latency; of a batch it is none."""
    single = found.get("batch_size") == 1
    return Rates(
        found.get("throughput[images/s]"), found.get("runtime[ms]") if single else None, None, source
    )


def _metrics(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text) if path.suffix == ".json" else ast.literal_eval(_plain(text))
    except (ValueError, SyntaxError) as error:
        raise BadInput(
            f"{path}: this is not what FINN's driver writes. Copy it from the board again."
        ) from error
    return dict(found)


def _plain(text: str) -> str:
    """numpy's own way to print a number, np.float64(1.5), as the number."""
    return re.sub(r"np\.\w+\(([^()]*)\)", r"\1", text)


def _counts(row: dict[str, Any]) -> Counts:
    """A row of Vivado's table; a block of 36 kbit is two of 18."""
    counts = {name: float(row[key]) for name, key in RESOURCES.items() if key in row}
    if "BRAM_36K" in row:
        counts["bram18"] = counts.get("bram18", 0.0) + 2.0 * float(row["BRAM_36K"])
    return counts


def _slack(path: Path) -> float | None:
    """The worst negative slack in ns of a timing summary."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"WNS\(ns\)[^\n]*\n[\s-]*?\n?\s*(-?\d+\.\d+)\s", text)
    return float(found.group(1)) if found else None


def _source(report: Path, alone: dict[str, Any]) -> str:
    return "ooc_synth_and_timing.json" if alone else ""


def _json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path}: this is not JSON, or it is cut off. Run the build again.") from error
