"""The report of a study of decentralized training as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.report import figures
from edgekit.report.curves import Curve, curve, curves_svg, label
from edgekit.report.html import _render
from edgekit.report.metrics import metric_rows
from edgekit.report.report import write_text

if TYPE_CHECKING:
    from edgekit.runs.history import History
from edgekit.runs.line import wall_seconds

# column -> (figure of the summary, how it is shown)
COLUMNS = {
    "agents' mean": ("agent_metric_mean", "metric"),
    "lowest agent": ("agent_metric_min", "metric"),
    "deviation over agents": ("agent_metric_std", "points"),
    "mean of the models": ("mean_model_metric", "metric"),
    "sent by an agent": ("bytes_sent_mean", "bytes"),
    "messages in all": ("messages_sent", "count"),
    "virtual seconds": ("virtual_seconds", "number"),
    "wall seconds": ("wall_seconds", "number"),
    "rounds to 1 % of the first consensus distance": ("rounds_to_consensus", "count"),
}
NOT_THERE = {"mean": None, "std": None, "ci95": None, "n": 0}  # a figure that an older summary does not have
ALWAYS = 6  # columns that every table has; the others where something was measured
DIFFERENCES = {
    "agents' mean": "agent_metric_mean",
    "lowest agent": "agent_metric_min",
    "deviation over agents": "agent_metric_std",
    "mean of the models": "mean_model_metric",
}


@dataclass(frozen=True)
class Picture:
    """An inline SVG with its title and a note below it."""

    title: str
    svg: str
    note: str = ""


def write_run_html(history: History, path: Path, *, pictures: Sequence[Picture] = ()) -> Path:
    """Write the page of a study's output folder; `pictures` follow its curves."""
    values = view(history)
    write_text(path, _render("run.html.j2", {**values, "plots": [*values["plots"], *pictures]}))
    return path


def summary_html(history: History) -> str:
    """The table of the cells, for a notebook."""
    return _render("run_summary.html.j2", view(history, plots=False))


def view(history: History, *, plots: bool = True) -> dict[str, Any]:
    """What the template shows, all figures as text."""
    summary = history.summary
    metric = str(summary["last"]["metric_name"])
    cells = summary["cells"]
    columns = _columns(cells)
    return {
        "title": summary["title"],
        "what": _what(summary),
        "claim": summary["claim"],
        "source": summary["source"],
        "columns": list(columns),
        "cells": [_cell(cell, columns, metric) for cell in cells],
        "measured_note": _note(summary, metric),
        "difference_columns": list(DIFFERENCES),
        "differences": [_difference(row, metric) for row in summary["differences"]],
        "metrics": metric_rows([cell.get("metrics", []) for cell in cells]),
        "plots": _plots(history, metric) if plots else [],
        "not_measured": sorted(summary["last"]["not_measured"].items()),
        "run_file": _run_file(history.folder),
        "decisions": [(name, _decision(value)) for name, value in summary["decisions"].items()],
        "command": f"edgekit {_verb(history)} run.yaml",
        "versions": [(name, value or "absent") for name, value in summary["versions"].items()],
    }


def is_share(history: History) -> bool:
    """Whether the metric of a history is a share of samples, shown in percent."""
    return figures.is_share({"name": str(history.summary["last"]["metric_name"])})


def shown(value: float | None, kind: str, metric: str) -> str:
    """A figure in its unit: shares in percent, bytes in KiB or MiB."""
    if value is None:
        return figures.NOTHING
    share = figures.is_share({"name": metric})
    percent = f"{100 * value:.2f}"
    percent = percent.removeprefix("-") if float(percent) == 0 else percent
    if kind == "metric":
        return f"{percent} %" if share else figures.significant(value)
    if kind == "points":
        return percent if share else figures.significant(value)
    if kind == "bytes":
        return figures.size(value)
    return figures.scaled(value) if kind == "count" else figures.significant(value)


def _columns(cells: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """The columns of which some cell has a figure, and those that every table has."""
    measured = lambda name: any(cell["figures"].get(name, NOT_THERE)["mean"] is not None for cell in cells)  # noqa: E731
    return {
        title: (name, kind)
        for index, (title, (name, kind)) in enumerate(COLUMNS.items())
        if index < ALWAYS or measured(name)
    }


def _cell(cell: Mapping[str, Any], columns: Mapping[str, tuple[str, str]], metric: str) -> dict[str, Any]:
    values = []
    for name, kind in columns.values():
        found = cell["figures"].get(name, NOT_THERE)
        note = ""
        if found["ci95"] is not None and kind in ("metric", "points"):
            low, high = (shown(end, "points", metric) for end in found["ci95"])
            note = f"95 % {low} to {high}"
        values.append({"value": shown(found["mean"], kind, metric), "note": note})
    return {"name": cell["name"], "figures": values}


def _difference(row: Mapping[str, Any], metric: str) -> dict[str, Any]:
    return {
        "name": f"{row['first']} minus {row['second']}",
        "figures": [_gap(row[name], name, metric) for name in DIFFERENCES.values()],
    }


def _gap(gap: Mapping[str, Any] | None, name: str, metric: str) -> dict[str, str]:
    if gap is None:
        return {"value": figures.NOTHING, "note": "", "kind": ""}
    value = shown(gap["mean"], "points", metric)
    if gap["ci95"] is None:
        return {"value": value, "note": "one seed: no interval", "kind": ""}
    low, high = gap["ci95"]
    note = f"95 % {shown(low, 'points', metric)} to {shown(high, 'points', metric)}"
    sure = low > 0 or high < 0
    better = (gap["mean"] > 0) != (name == "agent_metric_std")
    return {"value": value, "note": note, "kind": ("good" if better else "bad") if sure else ""}


def _what(summary: Mapping[str, Any]) -> str:
    run, last = summary["run"], summary["last"]
    seeds = len(summary["cells"][0]["folders"])
    return (
        f"{last['agents']:,} agents, {last['round']:,} rounds, model {_name(run['model'])}, data {_name(run['data'])}, "
        f"{seeds} seed{'' if seeds == 1 else 's'}"
    )


def _note(summary: Mapping[str, Any], metric: str) -> str:
    seeds = len(summary["cells"][0]["folders"])
    many = f"Mean over {seeds} seeds with Student's 95 % interval. " if seeds > 1 else "One seed. "
    return (
        f"{many}{figures.words(metric).capitalize()} on the test samples, of every agent's own model (mean, lowest, "
        "deviation over agents) and of the mean of all models. Bytes are payloads of encoded messages, counted for "
        "every receiver."
    )


def _plots(history: History, metric: str) -> list[Picture]:
    cells: dict[str, list[Sequence[Mapping[str, Any]]]] = {}
    for run in history.runs:
        cells.setdefault(run.cell, []).append(run.lines)
    share = figures.is_share({"name": metric})
    y_label = f"agents' {figures.words(metric)}" + (" (%)" if share else "")
    made = []
    for x, title in (
        ("round", "Over rounds"),
        ("bytes_sent.mean", "Over bytes"),
        ("elapsed", "Over time"),
        ("gradient_evaluations", "Over gradient evaluations"),
    ):
        found = [curve(name, runs, x, "agent_metric.mean", band="agents") for name, runs in cells.items()]
        known = _placed(found)
        if known:
            svg = curves_svg(known, x_label=label(x), y_label=y_label, percent=share)
            made.append(Picture(title, svg, _band_note()))
    found = [curve(name, runs, "round", "consensus_distance") for name, runs in cells.items()]
    known = _placed(found)
    if known:
        svg = curves_svg(known, x_label="rounds", y_label="consensus distance", log=True)
        note = "(1/n) sum of |x_i - mean|^2 over the agents' models. Band: lowest and highest seed."
        made.append(Picture("How far the models are apart", svg, note))
    return made


def _verb(history: History) -> str:
    """The command that made it: train where the links were real."""
    real = any(wall_seconds(run.lines[-1]) is not None for run in history.runs if run.lines)
    return "train" if real else "simulate"


def _placed(found: Sequence[Curve | None]) -> list[Curve]:
    """Those that were measured, each in the colour of its cell."""
    return [replace(one, place=place) for place, one in enumerate(found) if one is not None]


def _band_note() -> str:
    return "Line: mean over agents and seeds. Band: lowest to highest agent, mean over seeds."


def _run_file(folder: Path) -> str:
    path = folder / "run.yaml"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _name(value: Any) -> str:
    return str(next(iter(value))) if isinstance(value, Mapping) else str(value)


def _decision(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    if "way" in value:
        return f"gradients by {value['way']}"
    return ", ".join(f"{key} {part}" for key, part in value.items())
