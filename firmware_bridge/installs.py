"""What pip installs of edgekit on a board: decided by its machine, its C library and its Python.

The verdicts lie in installs.toml, one table a platform: `installs` names the extras that pip resolves from wheels
alone, `fails` the others with the reason. tests/benchmarks/installs.py asks pip again and rewrites them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgekit.target import Board
from firmware_bridge.boards import read_toml

FILE = Path(__file__).with_name("installs.toml")
EXTRAS = ("core", "cpu", "train", "broker", "host", "fpga")  # core: edgekit without an extra
OLDEST = "3.10"  # requires-python in pyproject.toml
BESIDE = "3.12"  # what stands for a newer Python, put beside a system's own that is too old
NO_PYTHON = "no operating system and so no Python: edgekit stays on the host"
TOO_OLD = f"edgekit needs Python {OLDEST} or later"
UNASKED = "pip was not asked for this platform: python tests/benchmarks/installs.py --write"


@dataclass(frozen=True)
class Platform:
    """What decides which wheels fit: `machine` as uname says it, the C library and Python as major.minor."""

    machine: str
    glibc: str
    python: str

    def __str__(self) -> str:
        return f"{self.machine}-glibc{self.glibc}-python{self.python}"


@dataclass(frozen=True)
class Row:
    """One board and Python: the extras that install, and why the others do not."""

    board: str
    system: str
    python: str | None
    own: bool  # the system's own Python, not one put beside it
    installs: tuple[str, ...]
    fails: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "board": self.board,
            "os": self.system,
            "python": self.python,
            "own": self.own,
            "installs": list(self.installs),
            "fails": dict(self.fails),
        }


def platforms(board: Board) -> list[Platform]:
    """The board's own Python, and a newer one beside it where that is too old; none without an operating system."""
    facts = board.facts
    if any(fact not in facts for fact in ("machine", "glibc", "python")):
        return []
    own = Platform(facts["machine"], facts["glibc"], facts["python"])
    return [own, Platform(own.machine, own.glibc, BESIDE)] if too_old(own) else [own]


def too_old(platform: Platform) -> bool:
    """Whether edgekit refuses this Python."""
    return _numbers(platform.python) < _numbers(OLDEST)


def rows(boards: Iterable[Board]) -> list[Row]:
    """The table of these boards, in their order."""
    return [row for board in boards for row in _rows(board)]


def _rows(board: Board) -> list[Row]:
    system = str(board.facts.get("os", "unknown"))
    found = platforms(board)
    if not found:
        return [Row(board.name, system, None, True, (), dict.fromkeys(EXTRAS, NO_PYTHON))]
    return [
        Row(board.name, system, platform.python, platform is found[0], *verdict(platform))
        for platform in found
    ]


def verdict(platform: Platform) -> tuple[tuple[str, ...], dict[str, str]]:
    """The extras that install on a platform, and the others with the reason."""
    if too_old(platform):
        return (), dict.fromkeys(EXTRAS, TOO_OLD)
    known = table().get(str(platform))
    if known is None:
        return (), dict.fromkeys(EXTRAS, UNASKED)
    return tuple(known["installs"]), dict(known.get("fails", {}))


@cache
def table() -> dict[str, dict[str, Any]]:
    """The verdicts by platform."""
    return read_toml(FILE)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
