"""`edgekit demo`: the whole job on a small network, end to end."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgekit.cli.console import say, say_aside

EXAMPLE = "edgekit demo --out runs/first-look"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("--out", type=Path, metavar="DIR", help="the output folder (default: runs/demo-N)")


def run(options: argparse.Namespace) -> int:
    """0 where the demonstration kept its budget."""
    from rich.console import Console

    from edgekit import demo
    from edgekit.journal import new_folder
    from edgekit.report import print_table

    folder = options.out or new_folder("demo")
    result = demo.run(folder, say=say_aside)
    print_table(result.report, Console())
    say(
        f"report: {folder / 'report.html'}",
        f"artefact: {result.artefact} (try: python {folder}/run_example.py)",
    )
    return 0 if result.met else 1
