"""`edgekit doctor`: what is installed, what this machine can do, what is missing."""

from __future__ import annotations

import argparse

from edgekit.cli.console import say, say_json, table

EXAMPLE = "edgekit doctor --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """0: an absent extra is no fault of the machine."""
    from edgekit import doctor

    facts, extras = doctor.machine(), doctor.extras()
    if options.json:
        say_json({"machine": facts, "extras": [extra.to_json() for extra in extras]})
        return 0
    table(["machine", ""], facts.items())
    table(["extra", "state", "packages"], [(extra.name, extra.state, extra.packages()) for extra in extras])
    for extra in extras:
        if extra.missing:
            say(f"{extra.name}: pip install 'edgekit[{extra.name}]'")
    return 0
