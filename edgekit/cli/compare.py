"""`edgekit compare DIR DIR ...`: several results side by side; of training runs, laid over each other."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edgekit.cli.console import kib, say, say_json, table
from edgekit.errors import BadInput

EXAMPLE = "edgekit compare runs/recipe-1 runs/recipe-2"
RUN = "summary.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="output folders of finished runs"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("compare.html"),
        metavar="FILE",
        help="the HTML page (default: compare.html)",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="training runs: a line a run and seed")
    parser.add_argument("--latex", type=Path, metavar="FILE", help="training runs: the table for a paper")
    parser.add_argument("--json", action="store_true", help="print JSON, write no page")


def run(options: argparse.Namespace) -> int:
    """Print a table and write a page."""
    if any((folder / RUN).is_file() for folder in options.folders):
        return _runs(options)
    reports = [(str(path.parent), _read(path)) for folder in options.folders for path in _reports(folder)]
    if options.json:
        say_json([{"folder": folder, "report": report} for folder, report in reports])
        return 0
    table(
        ["folder", "board", "metric", "drop", "p50 ms", "over fp32", "artefact", "seed"],
        [(folder, *_row(report)) for folder, report in reports],
        numbers=["metric", "drop", "p50 ms", "over fp32", "artefact", "seed"],
    )

    from edgekit.report import write_compare_html

    _metrics([(folder, report.get("metrics", [])) for folder, report in reports])
    write_compare_html(
        [report for _, report in reports], options.out, names=[folder for folder, _ in reports]
    )
    say(f"page: {options.out}")
    return 0


def _metrics(results: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Those metrics of which one of the results has a value; the page has them all, with reasons."""
    from edgekit.report.metrics import metric_rows

    names, found = zip(*results, strict=True)
    known = [row for row in metric_rows(found) if row.known]
    if known:
        table(
            ["metric", *names],
            [(row.name, *(value for value, _ in row.cells)) for row in known],
            numbers=names,
        )


def _runs(options: argparse.Namespace) -> int:
    """Training runs: their cells in one table, the differences paired by seed, and the curves in one plot."""
    from edgekit.cli.simulate import show
    from edgekit.report.run_html import is_share, write_run_html
    from edgekit.runs.history import History
    from edgekit.runs.overlay import latex, overlay, write_csv

    history = overlay([History.of(folder) for folder in options.folders])
    if options.csv is not None:
        write_csv(history.summary["cells"], options.csv)
    if options.latex is not None:
        options.latex.write_text(latex(history.summary["cells"], percent=is_share(history)), encoding="utf-8")
    if options.json:
        say_json(history.summary)
        return 0
    write_run_html(history, options.out)
    show(history, page=options.out)
    _metrics([(cell["name"], cell.get("metrics", [])) for cell in history.summary["cells"]])
    return 0


def _reports(folder: Path) -> list[Path]:
    direct = folder / "report.json"
    found = [direct] if direct.is_file() else sorted(folder.glob("*/report.json"))
    if not found:
        raise BadInput(f"compare: '{folder}' holds no report.json. Name the output folder of a finished run.")
    return found


def _read(path: Path) -> Any:
    from edgekit.report.metrics import metric_rows

    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        _row(report)
        metric_rows([report.get("metrics", [])])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"compare: '{path}' is no report of edgekit ({type(error).__name__}: {error}). Run edgekit "
            "compress again."
        ) from error
    return report


def _row(report: dict[str, Any]) -> tuple[Any, ...]:
    before, after = report["baseline"], report["result"]
    fp32, now = _at(before, "latency_ms", "p50"), _at(after, "latency_ms", "p50")
    return (
        report["board"],
        _at(after, "metric", "value"),
        _drop(before, after),
        now,
        _ratio(fp32, now),
        kib(after.get("bytes")),
        report["seed"],
    )


def _drop(before: dict[str, Any], after: dict[str, Any]) -> float | None:
    old, new = _at(before, "metric", "value"), _at(after, "metric", "value")
    if old is None or new is None:
        return None
    return float(old - new) * (1 if after["metric"]["higher_is_better"] else -1)


def _ratio(before: float | None, after: float | None) -> str | None:
    return f"{before / after:.2f}x" if before and after else None


def _at(part: dict[str, Any], *path: str) -> Any:
    for key in path:
        part = (part or {}).get(key)  # type: ignore[assignment]
    return part
