"""What came of a run: its metric beside the undisturbed run's, the rounds of each agent, and what was said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from edgekit.coordinator.training import AGENTS
from edgekit.runs.assemble import assemble
from edgekit.runs.single import SingleRun, read_lines
from edgekit.runs.study import Study
from edgekit.runs.task import cached_arrays
from tests.chaos import logs
from tests.chaos.rig import small_study

BOUND = 0.04  # by how much accuracy may be below that of the undisturbed run


@dataclass
class Outcome:
    """rounds {id: lines of rounds.jsonl}; peaks {id: bytes of resident memory}; metric, undisturbed: means over agents;
    reasons: lines that say what happened, as they were asked for.
    """

    last: Mapping[str, Any]
    total: int
    agents: int
    rounds: Mapping[str, list[logs.Line]]
    words: str
    seconds: float
    peaks: Mapping[str, int]
    undisturbed: float
    reasons: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, study: Study, words: str, seconds: float, peaks: Mapping[str, int]) -> Outcome:
        """Of the run in a folder."""
        run = study.cells[0].run
        return cls(
            read_lines(folder)[-1],
            run.rounds,
            run.agents,
            logs.rounds(folder / AGENTS),
            words,
            seconds,
            dict(peaks),
            undisturbed(json.dumps(study.document.value)),
        )

    @property
    def metric(self) -> float:
        """Mean over the agents."""
        return float(self.last["agent_metric"]["mean"])

    def assert_held(self, *, bound: float = BOUND, agents: int | None = None) -> None:
        """The run came to its last round with so many agents, all where None, and learnt what it would have."""
        assert self.last["round"] == self.total
        assert self.last["agents"] == (self.agents if agents is None else agents)
        assert self.metric >= self.undisturbed - bound, (self.metric, self.undisturbed)

    def assert_said(self, *patterns: str) -> None:
        """The log says why."""
        for pattern in patterns:
            found = re.search(f"^.*{pattern}.*$", self.words, re.MULTILINE)
            assert found, f"nobody said '{pattern}':\n{self.words}"
            self.reasons.append(found[0])

    def assert_counted(self, what: str, *, least: int = 1) -> None:
        """The lines of the rounds say so, at least so often."""
        found = self.count(what)
        assert found >= least, f"{what}: {found}, not {least}"
        self.reasons.append(f"rounds.jsonl: {what} {found}")

    def lost(self, name: str) -> int:
        """Rounds that an agent took no part in."""
        return self.total - len({line["round"] for line in self.rounds[name]})

    def longest(self) -> float:
        """The longest that anyone waited in a round, s."""
        return max(line["waited"] for lines in self.rounds.values() for line in lines)

    def count(self, what: str) -> int:
        """Sum over all rounds of all agents, of numbers or of lengths."""
        values = [line[what] for lines in self.rounds.values() for line in lines]
        return sum(len(value) if isinstance(value, list) else value for value in values)

    def assert_dropped(self, reason: str, *, least: int = 1) -> None:
        """Agents dropped frames for a reason, at least so many."""
        found = sum(lines[-1]["dropped"].get(reason, 0) for lines in self.rounds.values() if lines)
        assert found >= least, f"{reason}: {found}, not {least}"
        self.reasons.append(f"rounds.jsonl: dropped {found}, {reason}")


@cache
def undisturbed(values: str) -> float:
    """The last metric of the run that nothing happens to: the simulator's, to whose bits agents are held elsewhere."""
    study = small_study(json.loads(values))
    run = study.cells[0].run
    torch.set_num_threads(1)  # several wait for each other where tests run side by side
    made = assemble(run, study.seed, arrays=cached_arrays(run.data, run.data_options), gradients="loop")
    with TemporaryDirectory() as folder:
        return float(SingleRun(made, Path(folder)).finish()["agent_metric"]["mean"])
