"""`edgekit boards [NAME]`: the boards that are known, or the facts of one."""

from __future__ import annotations

import argparse
from typing import Any

from edgekit.cli.console import say, say_json, table
from edgekit.target import Board, board_names, find_board, find_target

EXAMPLE = "edgekit boards jetson-orin-nano"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("name", nargs="?", help="one board, with all its facts")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the list, or one board."""
    if options.name:
        return _show(find_board(options.name), as_json=options.json)
    boards = [find_board(name) for name in board_names()]
    if options.json:
        say_json([{"name": board.name, "title": board.title, "target": board.target} for board in boards])
    else:
        table(
            ["board", "what it is", "target"], [(board.name, board.title, board.target) for board in boards]
        )
        say(f"the facts of one, and what to expect there: {EXAMPLE}")
    return 0


def _show(board: Board, *, as_json: bool) -> int:
    caps = find_target(board.target).caps(board)
    if as_json:
        say_json(
            {
                "name": board.name,
                "title": board.title,
                "target": board.target,
                "facts": dict(board.facts),
                "caps": caps.key(),
            }
        )
        return 0
    say(f"{board.name}: {board.title} (target {board.target})")
    if caps.expects:
        say(caps.expects)
    sources = board.facts.get("sources", {})
    facts = [(name, value, sources.get(name, "")) for name, value in board.facts.items() if name != "sources"]
    table(["fact", "value", "source"], [(name, _shown(value), source) for name, value, source in facts])
    return 0


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
