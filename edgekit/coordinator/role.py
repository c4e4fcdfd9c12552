"""What an agent can be asked to do: roles come by the entry points `edgekit.roles`, and say whether they can work here.

A role is an object with a `name`, `missing()` -> one line on what it lacks ("" where nothing), and
`start(work, say)` -> what runs it, with `pids`, `look()`, `failed`, `ended` and `kill()`, as `LocalAgents` has them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Protocol

from edgekit.coordinator.worker import Work

Say = Callable[[str], None]


class Role(Protocol):
    """Something that an agent does."""

    name: str

    def missing(self) -> str:
        """What it lacks on this machine, with the command that installs it; "" where it can work."""
        ...

    def start(self, work: Work, say: Say) -> Any:
        """Begin, in processes of its own."""
        ...


class TrainRole:
    """Takes part in decentralized training."""

    name = "train"

    def missing(self) -> str:
        """Torch, where it is not there."""
        if importlib.util.find_spec("torch") is None:
            return "train: torch is not installed. Run: pip install 'edgekit[train]'"
        return ""

    def start(self, work: Work, say: Say) -> Any:
        """One process, started anew when it is killed."""
        from edgekit.coordinator.local import LocalAgents

        return LocalAgents([work], say=say)


def roles() -> dict[str, Role]:
    """The roles that are installed, by name."""
    return {entry.name: entry.load()() for entry in entry_points(group="edgekit.roles")}
