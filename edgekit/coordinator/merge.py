"""The agents' evaluations as lines of the run: what the simulator writes of all, put together from what each says."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.runs.line import REAL_LINKS, Line, Spread, Traffic
from edgekit.runs.single import LINES, read_lines

APART = "the models stay with the agents; set observe: true to collect them"
SANE = 1e150  # figures from others: their squares can be summed


class Merge:
    """run.jsonl in a folder, from lines that come in any order and more than once.

    models(round, agents): (metric of the mean model, consensus distance) where models are collected, else None.
    """

    def __init__(
        self,
        folder: Path,
        *,
        models: Callable[[int, set[int]], tuple[float, float] | None] = lambda round, agents: None,
        on_line: Callable[[Line], None] = lambda line: None,
    ) -> None:
        self.folder, self._models, self._on_line = folder, models, on_line
        self._known: dict[int, dict[int, dict[str, Any]]] = {}
        self.look_again()

    def look_again(self) -> None:
        """See what is written, after an interruption within a write."""
        self._written = max((line["round"] for line in read_lines(self.folder)), default=-1)
        self._known = {round: lines for round, lines in self._known.items() if round > self._written}

    def back_to(self, round: int) -> None:
        """Keep the lines up to a round; the others come again."""
        kept = [line for line in read_lines(self.folder) if line["round"] <= round]
        self._written = max((line["round"] for line in kept), default=-1)
        self._known.clear()
        temporary = self.folder / f"{LINES}.tmp"
        temporary.write_text("".join(Line(**_line(line)).to_json() + "\n" for line in kept), encoding="utf-8")
        os.replace(temporary, self.folder / LINES)

    def add(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take in an agent's evaluations; those that make no sense are left out."""
        for line in lines:
            round, agent = line.get("round"), line.get("agent")
            if type(round) is int and type(agent) is int and round > self._written and _sound(line):
                self._known.setdefault(round, {})[agent] = line

    def write(self, expected: Collection[int], *, last: bool = False) -> None:
        """Write the rounds that all expected agents have reported, in order; at the end all that there are."""
        for round in sorted(self._known):
            there = self._known[round]
            newer = max(self._known)
            if not last and set(expected) - set(there) and not self._passed(round, newer, expected):
                return
            self._write(self._known.pop(round))
            self._written = round

    def _passed(self, round: int, newer: int, expected: Collection[int]) -> bool:
        """Whether all expected agents are past a round, so that nothing of it is still to come."""
        past = {agent for later, lines in self._known.items() if later > round for agent in lines}
        return newer > round and not set(expected) - past - set(self._known[round])

    def _write(self, lines: dict[int, dict[str, Any]]) -> None:
        line = self._merged([lines[agent] for agent in sorted(lines)])
        with open(self.folder / LINES, "a", encoding="utf-8") as file:
            file.write(line.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._on_line(line)

    def _merged(self, lines: list[dict[str, Any]]) -> Line:
        first = lines[0]
        metric = _values(lines, "metric")
        sent = np.array([line["bytes"] for line in lines], np.float64)
        seen = self._models(first["round"], {line["agent"] for line in lines})
        reasons = {"virtual_seconds": REAL_LINKS}
        if seen is None:
            reasons |= {"mean_model_metric": APART, "consensus_distance": APART}
        waited, joules = _waited(lines), _mean(lines, "joules_a_round")
        if waited is None:
            reasons["waited_share"] = "no round was trained yet"
        if joules is None:
            reasons["joules_a_round"] = "no agent reads a power sensor (sensor: auto in its agent.yaml)"
        local = _mean(lines, "local_metric")
        if local is None:
            reasons["local_metric"] = "the data have no class labels, or the metric gives no score a sample"
        return Line(
            round=first["round"],
            epoch=round(float(np.mean([line["epoch"] for line in lines])), 4),
            agents=len(lines),
            metric_name=str(first["metric_name"]),
            agent_metric=_spread(metric),
            mean_model_metric=None if seen is None else seen[0],
            local_metric=local,
            train_loss=_mean(lines, "train_loss"),
            test_loss=_mean(lines, "test_loss"),
            lr=float(first["lr"]),
            gradient_evaluations=_mean(lines, "gradient_evaluations") or 0.0,
            consensus_distance=None if seen is None else seen[1],
            bytes_sent=Traffic(float(sent.mean()), float(sent.max()), int(sent.sum())),
            messages_sent=int(sum(line["messages"] for line in lines)),
            seconds=max(float(line["seconds"]) for line in lines),
            virtual_seconds=None,
            waited_share=waited,
            joules_a_round=joules,
            not_measured=reasons,
        )


def _waited(lines: list[dict[str, Any]]) -> float | None:
    """The share of its time that an agent waited, mean."""
    shares = [
        min(1.0, max(0.0, line["waited"] / line["seconds"]))
        for line in lines
        if line.get("waited") is not None and line["seconds"] > 0
    ]
    return float(np.mean(shares)) if shares else None


def _sound(line: dict[str, Any]) -> bool:
    numbers = ("bytes", "messages", "seconds", "epoch", "lr", "gradient_evaluations")
    optional = ("metric", "local_metric", "train_loss", "test_loss", "waited", "joules_a_round")
    return all(_sane(line.get(name)) for name in numbers) and all(
        line.get(name) is None or _sane(line[name]) for name in optional
    )


def _sane(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < SANE


def _values(lines: list[dict[str, Any]], name: str) -> list[float]:
    return [float(line[name]) for line in lines if line.get(name) is not None]


def _mean(lines: list[dict[str, Any]], name: str) -> float | None:
    values = _values(lines, name)
    return float(np.mean(values)) if values else None


def _spread(values: list[float]) -> Spread | None:
    if not values:
        return None
    return Spread(float(np.mean(values)), min(values), max(values), float(np.std(values)))


def _line(values: dict[str, Any]) -> dict[str, Any]:
    metric, sent = values["agent_metric"], values["bytes_sent"]
    return {
        **values,
        "agent_metric": None if metric is None else Spread(**metric),
        "bytes_sent": Traffic(**sent),
    }
