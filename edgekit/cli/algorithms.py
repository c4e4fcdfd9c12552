"""`edgekit algorithms`: what can train, what each needs, what a round costs, and where it was published."""

from __future__ import annotations

import argparse
from typing import Any

from edgekit.cli.console import say_json, table
from edgekit.cli.listing import entries
from edgekit.registry import algorithms

EXAMPLE = "edgekit algorithms --json"
_MATRIX = {
    "none": "any graph",
    "row": "rows of W sum to 1",
    "doubly": "doubly stochastic W",
    "symmetric": "symmetric W",
    "column": "column-stochastic W, digraphs too",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print one row an algorithm."""
    rows = [{**entry, **facts(algorithms.get(entry["name"]))} for entry in entries(algorithms)]
    if options.json:
        say_json(rows)
        return 0
    table(
        ["algorithm", "needs", "sent in a round", "gradients", "settings", "source"],
        [
            (
                row["name"],
                "; ".join(row["needs"]),
                row["sends"],
                row["gradients"],
                ", ".join(f"{key}: {text}" for key, text in row["settings"].items()) or "-",
                row["source"],
            )
            for row in rows
        ],
    )
    return 0


def facts(cls: Any) -> dict[str, Any]:
    """Needs, messages, gradients and paper of an algorithm's class."""
    made = cls()
    needs = [_MATRIX[cls.mixing]]
    needs += ["a graph that stays"] * cls.static_graph
    needs += ["a topology with groups"] * cls.groups
    needs += ["SGD without momentum"] * (cls.optimizer != "any")
    needs += ["one local step"] * (not cls.local_steps)
    needs += ["no BatchNorm"] * (not cls.buffers)
    needs += ["an unbiased codec"] * (cls.codecs == "unbiased")
    if cls.smallest_eigenvalue > -1:
        needs.append(f"eigenvalues of W above {cls.smallest_eigenvalue:.3g}")
    return {
        "needs": needs,
        "sends": _sends(made),
        "vectors": made.vectors,
        "grouped": made.grouped,
        "gradients": cls.gradients,
        "source": cls.source,
    }


def _sends(made: Any) -> str:
    """Rows sent: to each neighbour, within groups, or in pairs."""
    parts = []
    if made.vectors:
        whom = "each neighbour" if hasattr(made, "round") else "a partner"
        parts.append(f"{made.vectors:.3g} row{'s' * (made.vectors > 1)} to {whom}")
    if made.grouped:
        parts.append(f"{made.grouped:g} row averaged in a group of g: 2 (g - 1) / g rows")
    return ", ".join(parts)
