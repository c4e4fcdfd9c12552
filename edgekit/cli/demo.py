"""`edgekit demo`: a small network compressed, end to end; training between four agents; a network over two."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgekit.cli.console import say, say_aside

EXAMPLE = "edgekit demo --out runs/first-look"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("--out", type=Path, metavar="DIR", help="the output folder (default: runs/demo-N)")


def run(options: argparse.Namespace) -> int:
    """0 where the compressed network kept its budget."""
    from rich.console import Console

    from edgekit import demo
    from edgekit.cli.simulate import show
    from edgekit.cli.split import leaves
    from edgekit.journal import new_folder
    from edgekit.progress import show_progress
    from edgekit.report import print_table

    folder = options.out or new_folder("demo")
    result = demo.run(folder, say=say_aside)
    print_table(result.report, Console())
    say(
        f"report: {folder / 'report.html'}",
        f"artefact: {result.artefact} (try: python {folder}/run_example.py)",
        "",
    )
    with show_progress("auto"):
        history = demo.together(folder, say=say_aside)
    show(history)
    say(
        demo.what_happened(history),
        f"files: {history.folder} (try: edgekit train {history.folder}/run.yaml)",
        "",
    )
    with show_progress("auto"):
        summary = demo.divided(folder, say=say_aside)
    leaves(summary["leaves"])
    say(
        demo.what_crossed(summary),
        f"files: {folder / demo.SPLIT} (try: edgekit split {folder / demo.SPLIT}/split.yaml --broker here)",
    )
    return 0 if result.met else 1
