"""`edgekit metrics [NAME]`: the metrics that reports, profiles and runs can have, and what each is."""

from __future__ import annotations

import argparse
from typing import Any

from edgekit import registry
from edgekit.cli.console import say, say_json, table
from edgekit.profile.metrics import Slot, slot_of, slots

EXAMPLE = "edgekit metrics communication_cost"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("name", nargs="?", help="one of them, package.module:NAME, or ./file.py:NAME")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print one row a metric, or all of one."""
    found = [facts(slot) for slot in (slots() if options.name is None else [slot_of(options.name)])]
    if options.json:
        say_json(found if options.name is None else found[0])
    elif options.name is not None:
        say(*(f"{name}: {value}" for name, value in found[0].items()))
    else:
        table(["metric", "unit", "better", "what it is", "source"], [tuple(row.values()) for row in found])
        say(f"What a recipe or a run file can name as its metric: {', '.join(registry.metrics.names())}.")
    return 0


def facts(slot: Slot) -> dict[str, Any]:
    """All that there is to say of a slot."""
    return {
        "name": slot.name,
        "unit": slot.unit,
        "better": slot.better,
        "definition": slot.definition,
        "source": slot.source,
    }
