"""Figures of a board that is not this machine: read back from an output folder into its report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit.report.metrics import metrics_of_report
from edgekit.report.report import read_report, save_report
from edgekit.target import find_board, find_target


def is_away(path: Path) -> bool:
    """Whether a path is an output folder for a board that is not this machine, and whose own tools measure."""
    if not (path / "report.json").is_file():
        return False
    report = read_report(path)
    target = find_target(str(report["target"]))
    here = getattr(target, "is_here", None)
    return hasattr(target, "figures") and (here is None or not here(find_board(report["board"])))


def read_back(folder: Path) -> dict[str, Any]:
    """Take what the board's tools left in a folder into report.json and report.html; the new report.

    BadInput where a file is broken, of another board or of another model.
    """
    report = read_report(folder)
    figures = find_target(report["target"]).figures(folder, find_board(report["board"]))  # type: ignore[attr-defined]
    report["on_board"] = [asdict(figure) for figure in figures]
    report["metrics"] = metrics_of_report(report)
    return save_report(report, folder)
