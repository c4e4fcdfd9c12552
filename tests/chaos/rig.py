"""A training that tests can get at: its starter, its agents' processes, and how each of them meets the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from edgekit.coordinator.local import LocalAgents
from edgekit.coordinator.starter import Starter
from edgekit.coordinator.training import Terms, Training
from edgekit.coordinator.worker import Post, Work
from edgekit.runs.study import Study, parse_study

Tamper = Callable[[int, Post], Post]
SMALL: dict[str, Any] = {
    "algorithm": "d-psgd",
    "topology": "ring",
    "agents": 4,
    "model": {"mlp": {"width": 16}},
    "data": {"fashion-mnist": {"partition": {"dirichlet": {"alpha": 1.0}}}},
    "batch": 32,
    "optimizer": {"sgd": {"lr": 0.1}},
    "rounds": 300,
    "evaluate_every": 20,
    "evaluate": {"samples": 500},
}


def small_study(changes: Mapping[str, Any] | None = None) -> Study:
    """A study of one run whose rounds take a millisecond of work."""
    return parse_study(yaml.safe_dump({**SMALL, **(changes or {})}), source="chaos.yaml")


class Rig(Training):
    """A training whose agents have their posts from `tamper(number, post)`."""

    starter: Starter | None = None
    local: LocalAgents | None = None

    def __init__(
        self, study: Study, folder: Path, terms: Terms, *, tamper: Tamper, say: Callable[[str], None]
    ) -> None:
        super().__init__(study, folder, terms, say=say)
        self._tamper = tamper

    def _works(self, folder: Path, post: Post, *more: Any) -> list[Work]:
        works = super()._works(folder, post, *more)
        return [replace(work, post=self._tamper(work.device.partition or 0, work.post)) for work in works]

    def _drive(self, starter: Starter, local: LocalAgents, *more: Any) -> dict[str, Any]:
        self.starter, self.local = starter, local
        return super()._drive(starter, local, *more)

    def _write_report(self, history: Any) -> None:
        """None: its pictures take longer than the run."""
