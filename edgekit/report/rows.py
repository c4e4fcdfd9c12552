"""The rows of the before/after table and of the steps, as text, for the page and the terminal alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.report import figures
from edgekit.report.verdict import for_hardware

SIZES = {False: "file size", True: "weights at their bits"}


@dataclass(frozen=True)
class Row:
    """A figure before and after, its change, and notes in small print below each."""

    name: str
    before: str
    after: str
    change: str
    before_note: str = ""
    after_note: str = ""
    change_note: str = ""
    good: bool | None = None


def comparison(report: Mapping[str, Any]) -> list[Row]:
    """Metric, latency, throughput, size, parameters, MACs, peak memory, energy."""
    before, after = report["baseline"], report["result"]
    simple = [
        _ratio_row(
            SIZES[for_hardware(report)], before["bytes"], after["bytes"], figures.size, "smaller", "larger"
        ),
        _ratio_row("parameters", before["params"], after["params"], figures.scaled, "fewer", "more"),
        _ratio_row("MACs a sample", before["macs"], after["macs"], figures.scaled, "fewer", "more"),
        _ratio_row(
            "peak memory",
            before["peak_memory_bytes"],
            after["peak_memory_bytes"],
            figures.size,
            "smaller",
            "larger",
        ),
        _ratio_row("energy", _joules(before), _joules(after), _millijoules, "less", "more"),
    ]
    rows = [_metric_row(report), _latency_row(report), _throughput_row(before, after), *simple]
    return [row for row in rows if row is not None]


def not_measured(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, of which, why) for every null of the baseline, the result and the whole."""
    listed = [(figures.words(name), "report", why) for name, why in report["not_measured"].items()]
    for part in ("baseline", "result"):
        listed += [(_title(name), part, why) for name, why in report[part]["not_measured"].items()]
    merged: dict[tuple[str, str], list[str]] = {}
    for what, part, why in listed:
        merged.setdefault((what, why), []).append(part)
    return [(what, " and ".join(parts), why) for (what, why), parts in merged.items()]


def on_board(report: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what, value, how, by) for every figure of the board itself."""
    return [(item["name"], _with_unit(item), item["how"], item["by"]) for item in report.get("on_board", ())]


def boards(reports: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) that put boards side by side: what all have, then each board's own figures, marked."""
    names = list(dict.fromkeys(item["name"] for report in reports for item in report.get("on_board", ())))
    heads = [f"{report['board']} ({report['result']['precision']})" for report in reports]
    shared = [
        [row.name, *[_marked(report, index) for report in reports]] for index, row in _shared(reports[0])
    ]
    own = [[name, *[_own(report, name) for report in reports]] for name in names]
    return ["", *heads], shared + own


def _shared(report: Mapping[str, Any]) -> list[tuple[int, Row]]:
    wanted = ("latency (median)", SIZES[False], "parameters", "MACs a sample", "energy")
    return [(index, row) for index, row in enumerate(comparison(report)) if index == 0 or row.name in wanted]


def _marked(report: Mapping[str, Any], index: int) -> str:
    row = comparison(report)[index]
    if index == 0 and row.after_note:
        return f"{row.after}\nof the {row.after_note.rpartition('of the ')[2]}"
    return f"{row.after}\n{SIZES[True]}" if row.name == SIZES[True] else row.after


def _own(report: Mapping[str, Any], name: str) -> str:
    found = [item for item in report.get("on_board", ()) if item["name"] == name]
    if not found:
        return "-"
    return "\n".join(
        item["how"] if item["value"] is None else f"{_with_unit(item)}, {item['how']}" for item in found
    )


def _with_unit(item: Mapping[str, Any]) -> str:
    if item["value"] is None:
        return "-"
    return f"{figures.significant(item['value'])} {item['unit']}".strip()


def latency_note(latency: Mapping[str, Any] | None) -> str:
    """The percentiles below a latency."""
    if latency is None:
        return ""
    return f"p90 {figures.milliseconds(latency['p90'])}, p99 {figures.milliseconds(latency['p99'])}"


def _title(name: str) -> str:
    return {
        "latency_ms": "latency",
        "bytes": "file size",
        "params": "parameters",
        "macs": "MACs",
        "peak_memory_bytes": "peak memory",
    }.get(name, figures.words(name))


def _metric_row(report: Mapping[str, Any]) -> Row:
    before, after, drop = report["baseline"]["metric"], report["result"]["metric"], report["drop"]
    name = figures.words((after or before or {"name": "metric"})["name"])
    change, note, good = "", "", None
    if drop is not None and after is not None:
        unit = " points" if figures.is_share(after) else ""
        value = -drop["value"] if after["higher_is_better"] else drop["value"]
        change, good = f"{'+' if value > 0 else ''}{figures.points(value, after)}{unit}", drop["value"] <= 0
        if drop["ci95"]:
            sign = -1 if after["higher_is_better"] else 1
            low, high = sorted(sign * end for end in drop["ci95"])
            note = f"95 % {figures.points(low, after)} to {figures.points(high, after)}, paired"
    return Row(
        name,
        figures.score(before),
        figures.score(after),
        change,
        _score_note(before),
        _score_note(after),
        note,
        good,
    )


def _score_note(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return ""
    interval = figures.score_interval(metric)
    return f"{f'95 % {interval}, ' if interval else ''}n = {metric['n']:,}, of the {metric['of']}"


def _latency_row(report: Mapping[str, Any]) -> Row:
    before, after = report["baseline"]["latency_ms"], report["result"]["latency_ms"]
    ratio = report["ratio"]["latency"]
    change, note, good = "", "", None
    if ratio is not None:
        low, high = ratio["ci95"] or (ratio["value"], ratio["value"])
        good = True if low > 1 else False if high < 1 else None
        factor = ratio["value"] if good is not False else 1 / ratio["value"]
        change = f"{figures.times(factor)} { {True: 'faster', False: 'slower', None: 'as fast'}[good] }"
        note = f"95 % {low:.2f} to {high:.2f}, interleaved" if ratio["ci95"] else ""
    show = lambda value: figures.milliseconds(value["p50"] if value else None)  # noqa: E731
    return Row(
        "latency (median)",
        show(before),
        show(after),
        change,
        latency_note(before),
        latency_note(after),
        note,
        good,
    )


def _throughput_row(before: Mapping[str, Any], after: Mapping[str, Any]) -> Row:
    def show(value: float | None) -> str:
        return figures.NOTHING if value is None else f"{figures.significant(value)}/s"

    return _ratio_row(
        "samples a second",
        before["throughput"],
        after["throughput"],
        show,
        "less",
        "more",
        more_is_better=True,
    )


def _ratio_row(
    name: str,
    before: float | None,
    after: float | None,
    show: Any,
    less: str,
    more: str,
    *,
    more_is_better: bool = False,
) -> Row:
    change, good = "", None
    if before and after:
        factor = before / after
        change = (
            "same"
            if 0.995 < factor < 1.005
            else (f"{figures.times(factor)} {less}" if factor > 1 else f"{figures.times(1 / factor)} {more}")
        )
        good = None if change == "same" else (factor > 1) != more_is_better
    return Row(name, show(before), show(after), change, good=good)


def _joules(part: Mapping[str, Any]) -> float | None:
    return part["energy"]["joules_per_inference"] if part["energy"] else None


def _millijoules(value: float | None) -> str:
    return figures.NOTHING if value is None else f"{figures.significant(1000 * value)} mJ"
