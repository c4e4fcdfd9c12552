"""Several studies laid over each other: one history of all their cells, with paired differences, CSV and LaTeX."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput
from edgekit.runs import statistics
from edgekit.runs.history import History

COMPARED = ("agent_metric_mean", "agent_metric_min", "agent_metric_std", "mean_model_metric")


def overlay(histories: Sequence[History]) -> History:
    """All cells as one history; a cell is named after its folder where there are several, and by itself if unique.

    The differences are paired by seed; see `differences`.
    """
    named = [(history, cell, name) for history, cell, name in _named(histories)]
    metrics = {history.summary["last"]["metric_name"] for history in histories}
    if len(metrics) > 1:
        raise BadInput(
            f"compare: these runs measure different metrics ({', '.join(sorted(metrics))}). Compare like."
        )
    cells = [
        {**cell, "name": name, "folder": str(history.folder), "labels": {}} for history, cell, name in named
    ]
    runs = tuple(
        replace(run, cell=name)
        for history, cell, name in named
        for run in history.runs
        if run.cell == cell["name"]
    )
    first = histories[0].summary
    summary = {
        **first,
        "title": " and ".join(history.summary["title"] for history in histories),
        "cells": cells,
        "differences": differences(cells),
        "decisions": {},
    }
    return History(histories[0].folder, runs, summary)


def differences(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pairs of a summary's cells, first minus second, seed by seed.

    The first variant against the others at the same swept values; without variants, the first cell against the others.
    """
    seeds = lambda cell: {int(seed): line for seed, line in cell["last"].items()}  # noqa: E731
    first: dict[Any, dict[str, Any]] = {}
    found = []
    for cell in cells:
        base = first.setdefault(_point(cell), cell)
        if base is not cell:
            gaps = {name: statistics.paired(seeds(base), seeds(cell), name) for name in COMPARED}
            found.append({"first": base["name"], "second": cell["name"], **gaps})
    return found


def _point(cell: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The swept values of a cell of a variant; nothing where there are no variants."""
    labels = cell["labels"]
    return (
        tuple((key, value) for key, value in labels.items() if key != "variant")
        if "variant" in labels
        else ()
    )


def write_csv(cells: Sequence[dict[str, Any]], path: Path) -> None:
    """A line a cell and seed, a column a figure."""
    names = list(statistics.FIGURES)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["cell", "seed", *names])
        for cell in cells:
            for seed, line in cell["last"].items():
                writer.writerow([cell["name"], seed, *(statistics.figure(line, name) for name in names)])


def latex(cells: Sequence[dict[str, Any]], *, percent: bool) -> str:
    """A booktabs table: every cell's agents' mean, lowest agent and mean model, as mean $\\pm$ half of the interval."""
    columns = {
        "agents' mean": "agent_metric_mean",
        "lowest agent": "agent_metric_min",
        "mean model": "mean_model_metric",
    }
    lines = [
        r"\begin{tabular}{l" + "r" * (len(columns) + 1) + "}",
        r"\toprule",
        " & ".join(["", *columns, "MiB sent by an agent"]) + r" \\",
        r"\midrule",
    ]
    for cell in cells:
        figures = [
            _latex_figure(cell["figures"][name], 100.0 if percent else 1.0) for name in columns.values()
        ]
        sent = cell["figures"]["bytes_sent_mean"]["mean"]
        lines.append(" & ".join([_escaped(cell["name"]), *figures, f"{sent / 2**20:.3g}"]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _named(histories: Sequence[History]) -> list[tuple[History, dict[str, Any], str]]:
    pairs = [(history, cell) for history in histories for cell in history.summary["cells"]]
    names = [cell["name"] for _, cell in pairs]
    made = []
    for (history, cell), name in zip(pairs, names, strict=True):
        single = len(history.summary["cells"]) == 1
        own = history.folder.name if single else f"{history.folder.name}: {name}"
        made.append((history, cell, name if names.count(name) == 1 and name != "run" else own))
    return made


def _latex_figure(figure: dict[str, Any], factor: float) -> str:
    if figure["mean"] is None:
        return "--"
    value = f"{factor * figure['mean']:.2f}"
    if figure["ci95"] is None:
        return value
    return rf"${value} \pm {factor * (figure['ci95'][1] - figure['mean']):.2f}$"


def _escaped(text: str) -> str:
    return "".join(rf"\{letter}" if letter in "&%$#_{}" else letter for letter in text)
