"""What edgekit says when it cannot do what was asked: one line with what, where, why and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgekitError(Exception):
    """An error a user can act on; the command line prints it as one line and exits with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class BadInput(EdgekitError):
    """The input cannot work; nothing was lost, nothing was changed."""


class MissingDependency(EdgekitError):
    """An optional package is absent; the message carries the install command."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. Run: pip install "
            f"'edgekit[{extra}]'"
        )


class BudgetMissed(EdgekitError):
    """A budget was missed; the best artefact found was kept."""

    exit_code = 1


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """The nearest known name as a sentence, or the list of all of them.

    >>> did_you_mean("prun", ["prune", "quantize"])
    "Did you mean 'prune'?"
    """
    known = sorted(options)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"Known: {', '.join(known) or 'none'}."
