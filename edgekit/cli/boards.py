"""`edgekit boards [NAME]`: the boards that are known, or the facts of one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from edgekit.cli.console import say, say_json, table
from edgekit.target import Board, board_names, find_board, find_target

EXAMPLE = "edgekit boards x86-vnni"


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
            ["board", "what it is", "target", "what to expect"],
            [
                (board.name, board.title, board.target, find_target(board.target).caps(board).expects)
                for board in boards
            ],
        )
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
    table(["fact", "value"], list(_flat(board.facts)))
    return 0


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
