"""What an output folder holds of its FPGA: rate, latency and resources, estimated, synthesised and measured."""

from __future__ import annotations

from pathlib import Path

from edgekit.target import Board, Figure, How
from targets.fpga.finn.build import CONFIG
from targets.fpga.finn.build import FINN as RELEASE
from targets.fpga.finn.environment import FINN
from targets.fpga.finn.figure import Figure as Columns
from targets.fpga.finn.report import FinnReport, read_report

COLUMNS: tuple[How, ...] = ("estimated", "synthesised", "measured")
NAMES = {"lut": "LUT", "bram18": "BRAM18", "dsp": "DSP", "uram": "URAM"}

# {key of FinnReport.not_measured: (what is missing, how it comes)}
ABSENT = {
    "resources.synthesised": ("resources after synthesis", "run finn_build/build.py where Vivado is"),
    "slack_ns": ("timing slack", "run finn_build/build.py where Vivado is"),
    "fps.synthesised": ("rate of the simulated hardware", "run finn_build/build.py where Vivado is"),
    "fps.measured": ("rate on the board", "run the driver on the board, and copy its file into finn_build"),
}


def figures(folder: Path, board: Board) -> tuple[Figure, ...]:
    """Every figure in the columns that are known, the unknown rate with its reason; BadInput for a broken folder."""
    build = folder / "finn_build"
    if not (build / CONFIG).is_file():
        return (
            Figure("frames per second", None, "/s", "not measured", "there is no finn_build in the folder"),
        )
    if not (build / "estimate").is_dir() and not (build / "output" / "report").is_dir():
        why = FINN.probe() or "not estimated yet"
        return (Figure("frames per second", None, "/s", "not measured", why),)
    report = read_report(build, board)
    found = [
        *_of("frames per second", report.fps, "/s", report),
        *_of("latency", report.latency_ms, "ms", report),
        *_of(
            "cycles between frames",
            report.interval_cycles,
            "",
            report,
            f"slowest: {report.bottleneck.source}",
        ),
    ]
    for name, columns in report.resources.items():
        share = report.percent(name)
        whole = report.available.get(name)
        note = f"{share.best:g} % of {whole:,.0f}" if share.best is not None and whole else ""
        found += _of(NAMES.get(name, name), columns, "", report, note)
    absent = [
        Figure(name, None, "", "not measured", how)
        for key, (name, how) in ABSENT.items()
        if key in report.not_measured
    ]
    return (*found, *absent)


def _of(name: str, columns: Columns, unit: str, report: FinnReport, note: str = "") -> list[Figure]:
    by = {
        "estimated": f"finn-plus {RELEASE}, {report.clock_mhz:g} MHz",
        "synthesised": "Vivado",
        "measured": "the board",
    }
    return [
        Figure(name, float(value), unit, how, f"{by[how]}{', ' if note else ''}{note}")
        for how, value in zip(COLUMNS, columns.columns(), strict=True)
        if value is not None
    ]
