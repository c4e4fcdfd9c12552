"""The metrics of a report, and the table that all pages show them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgekit.profile import metric_slots as slots
from edgekit.profile.measured_metrics import measured
from edgekit.profile.metrics import Reading, Slot, rows
from edgekit.report import figures
from edgekit.report.verdict import on_board_figure

NO_TRAINING: Final = "no training across devices ran: edgekit simulate, train and split tell it"
FABRIC: Final = {
    "LUT": "lut",
    "BRAM18": "bram18",
    "DSP": "dsp",
}  # of an FPGA's figures: the board's own number


def metrics_of_report(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a report's result, with what its board's own tools say where this machine measured nothing."""
    found = {reading.slot.name: reading for reading in measured(report["result"], "result.")}
    for reading in (*_of_board(report), _fabric(report), slots.TRAINING_LOSS.unknown(_NO_LOSS)):
        if reading is not None and (reading.value is not None or reading.slot.name not in found):
            found[reading.slot.name] = reading
    return rows("compress", report, found.values(), absent=NO_TRAINING)


_NO_LOSS: Final = "a report keeps the metric after each step, not the loss of its training"


def _of_board(report: Mapping[str, Any]) -> list[Reading]:
    """Latency and throughput from the figures of the board itself, those of the kept artefact."""
    if report["result"]["latency_ms"] is not None:
        return []
    kept = report["result"]["precision"].partition("+")[0]  # int8+fp16 is the engine int8
    named: list[tuple[Slot, tuple[str, ...]]] = [
        (slots.LATENCY, (f"latency, {kept}", "latency")),
        (slots.THROUGHPUT, (f"throughput, {kept}", "frames per second")),
    ]
    return [
        slot.reading(item["value"], method=f"{item['how']} by {item['by']}", source="on_board", reason="")
        for slot, names in named
        for item in [on_board_figure(report, names)]
        if item is not None
    ]


def _fabric(report: Mapping[str, Any]) -> Reading | None:
    """The share of the scarcest resource of an FPGA; None for other boards."""
    taken = []
    for name, fact in FABRIC.items():
        item, whole = on_board_figure(report, (name,)), report["environment"].get(fact)
        if item is not None and whole:
            taken.append((item["value"] / whole, f"{item['value']:,.0f} of {whole:,} {name}, {item['how']}"))
    if not taken:
        return None
    share, method = max(taken)
    return slots.RESOURCE_UTILIZATION.reading(
        share, method=method, source="on_board", reason="", better="lower"
    )


@dataclass(frozen=True)
class MetricRow:
    """A metric of several results: its name, a value of each with small print, and what it is."""

    name: str
    cells: tuple[tuple[str, str], ...]
    definition: str
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether one of the results has a value."""
        return any(value != figures.NOTHING for value, _ in self.cells)


def metric_rows(results: Sequence[Sequence[Mapping[str, Any]]]) -> list[MetricRow]:
    """The rows of one table over several results' metrics, those with values first; nothing where none has any."""
    tables = [{row["name"]: row for row in result} for result in results]
    names = dict.fromkeys(name for table in tables for name in table)
    made = [_metric_row(name, [_cell(table.get(name)) for table in tables]) for name in names]
    return sorted(made, key=lambda row: not row.known)


def _metric_row(name: str, cells: Sequence[tuple[str, str]]) -> MetricRow:
    """Small print that is the same everywhere is said once."""
    notes, note = {note for _, note in cells}, ""
    if len(cells) > 1 and len(notes) == 1:
        note, cells = notes.pop(), [(value, "") for value, _ in cells]
    return MetricRow(figures.words(name), tuple(cells), _definition(name), note)


def _cell(row: Mapping[str, Any] | None) -> tuple[str, str]:
    """The value and how it was taken, or that there is none and why."""
    if row is None:
        return figures.NOTHING, "written by an older version"
    if row["value"] is None:
        return figures.NOTHING, row["reason"]
    return shown(row["value"], row["unit"]), f"{_interval(row)}{row['method']}"


def _interval(row: Mapping[str, Any]) -> str:
    if row["ci95"] is None or row["ci95"][0] == row["ci95"][1]:
        return ""
    low, high = (shown(end, row["unit"]) for end in row["ci95"])
    return f"95 % {low} to {high}, "


def shown(value: float, unit: str) -> str:
    """A metric's value in its unit.

    >>> shown(0.9187, "accuracy"), shown(0.0871, "ms"), shown(12.0, "rounds")
    ('91.87 %', '0.0871 ms', '12 rounds')
    """
    if unit == "share" or figures.is_share({"name": unit}):
        return f"{100 * value:.2f} %"
    if unit in _SHOWN:
        return str(_SHOWN[unit](value))
    number = f"{value:,.0f}" if unit == "rounds" else figures.significant(value)
    return f"{number} {figures.words(unit)}" if unit else number


_SHOWN: Final = {
    "B": figures.size,
    "ms": figures.milliseconds,
    "s": figures.seconds,
    "J": lambda value: (
        f"{figures.significant(1000 * value)} mJ" if value < 1 else f"{figures.significant(value)} J"
    ),
    "samples/s": lambda value: f"{figures.significant(value)}/s",
    "of the loss": figures.significant,
}


def _definition(name: str) -> str:
    from edgekit.errors import EdgekitError
    from edgekit.profile.metrics import slot_of

    try:
        return slot_of(name).definition
    except (EdgekitError, ImportError):
        return "defined where the report was written"
