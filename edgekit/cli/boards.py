"""`edgekit boards [NAME]`: the boards that are known, the facts of one, or what pip installs on them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgekit.cli.console import say, say_json, table
from edgekit.errors import BadInput
from edgekit.target import NO_TARGET, UNSERVED, Board, Caps, board_names, find_board, target_of

if TYPE_CHECKING:
    from firmware_bridge.installs import Row

EXAMPLE = "edgekit boards jetson-orin-nano"
INSTALLS = (
    "pip resolves these from wheels of the Python Package Index alone. The core profiles, serves and updates; [cpu] "
    "adds onnxruntime, [train] torch, [host] compression, [fpga] brevitas and qonnx. Where a wheel is missing pip "
    "would compile; Raspberry Pi OS for 32 bits also asks piwheels.org, which was not asked here."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("name", nargs="?", help="one board, with all its facts")
    parser.add_argument(
        "--installs", action="store_true", help="what pip installs, by operating system and Python"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the list, one board, or what installs."""
    if options.installs:
        return _installs(options.name, as_json=options.json)
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
    caps, refusal = _caps(board)
    if as_json:
        say_json(
            {
                "name": board.name,
                "title": board.title,
                "target": board.target,
                "facts": dict(board.facts),
                "caps": caps.key() if caps else None,
                "refusal": refusal,
            }
        )
        return 0
    say(f"{board.name}: {board.title} (target {board.target})")
    expected = caps.expects if caps else refusal
    if expected:
        say(expected)
    sources = board.facts.get("sources", {})
    facts = [(name, value, sources.get(name, "")) for name, value in board.facts.items() if name != "sources"]
    table(["fact", "value", "source"], [(name, _shown(value), source) for name, value, source in facts])
    return 0


def _caps(board: Board) -> tuple[Caps | None, str | None]:
    """What the board's runtime takes, or why nothing can be exported for it."""
    if board.target == NO_TARGET:
        return None, f"{UNSERVED}. {board.facts.get('instead', '')}".rstrip()
    try:
        return target_of(board).caps(board), None
    except BadInput as error:
        return None, str(error)


def _installs(name: str | None, *, as_json: bool) -> int:
    from firmware_bridge.installs import rows

    names = [name] if name else [known for known in board_names() if known != "this-machine"]
    found = rows(find_board(board) for board in names)
    if as_json:
        say_json([row.to_json() for row in found])
        return 0
    table(
        ["board", "operating system", "Python", "installs", "does not"],
        [(row.board, row.system, _python(row), ", ".join(row.installs), _failing(row)) for row in found],
    )
    say(INSTALLS)
    return 0


def _python(row: Row) -> str:
    if row.python is None:
        return "none"
    return row.python if row.own else f"{row.python} beside it"


def _failing(row: Row) -> str:
    """The extras that do not install, gathered by reason."""
    by_reason: dict[str, list[str]] = {}
    for extra, reason in row.fails.items():
        by_reason.setdefault(reason, []).append(extra)
    return "; ".join(f"{', '.join(extras)}: {reason}" for reason, extras in by_reason.items())


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)
