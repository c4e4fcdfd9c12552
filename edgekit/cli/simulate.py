"""`edgekit simulate RUN.yaml`: decentralized training of all agents on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgekit.cli.console import say, say_aside, say_json, say_nothing, table
from edgekit.cli.outputs import prepare_run
from edgekit.progress import show_progress

EXAMPLE = "edgekit simulate run.yaml --set optimizer.sgd.lr=0.05 --out runs/lower-rate"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("run", type=Path, help="a YAML file (write one with: edgekit init run)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change one value of the run file, such as topology=ring (may be repeated)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the output folder (default: runs/NAME-N)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at a time, one thread each (default: one a core)"
    )
    parser.add_argument("--force", action="store_true", help="delete the run that the output folder holds")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="print no progress")


def run(options: argparse.Namespace) -> int:
    """0 where every run came to its end."""
    from edgekit.runs.simulate import Simulation
    from edgekit.runs.study import load_study

    study = load_study(options.run, overrides=options.overrides)
    folder = prepare_run(study.document.value, options.out, name=study.title, force=options.force)
    tell = say_nothing if options.quiet else say_aside
    tell(f"output: {folder}")
    with show_progress("silent" if options.quiet else "auto"):
        history = Simulation(study, folder, jobs=options.jobs, say=tell).history()
    if options.json:
        say_json(history.summary)
    else:
        show(history)
    return 0


def show(history: Any, *, page: Path | None = None) -> None:
    """The table of the cells, their paired differences, and where the page is."""
    from edgekit.report.run_html import view

    seen = view(history, plots=False)
    table(
        ["", *seen["columns"]],
        [(row["name"], *(_cell(cell) for cell in row["figures"])) for row in seen["cells"]],
        title=f"{seen['title']}: {seen['what']}",
        numbers=seen["columns"],
    )
    if seen["differences"]:
        table(
            ["", *seen["difference_columns"]],
            [(row["name"], *(_cell(cell) for cell in row["figures"])) for row in seen["differences"]],
            numbers=seen["difference_columns"],
        )
    if seen["claim"]:
        say(f"claim: {seen['claim']}")
    page = page or history.folder / "report.html"
    if page.is_file():  # a board that trains may lack what draws it
        say(f"report: {page}")


def _cell(cell: dict[str, str]) -> str:
    return cell["value"] + (f"\n{cell['note']}" if cell["note"] else "")
