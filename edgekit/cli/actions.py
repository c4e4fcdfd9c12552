"""The words after a verb that has several: edgekit broker start, edgekit power list."""

from __future__ import annotations

import argparse
from typing import Any


def add_action(actions: Any, name: str, summary: str, *, example: str) -> argparse.ArgumentParser:
    """A parser for one of a verb's words, whose help ends with an example; `actions` are its subparsers."""
    made: argparse.ArgumentParser = actions.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return made
