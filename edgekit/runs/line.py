"""One line of run.jsonl: what is known after a number of rounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Spread:
    """A figure over agents."""

    mean: float
    min: float
    max: float
    std: float


@dataclass(frozen=True)
class Traffic:
    """Payload bytes that agents have sent since the start, each counted for every receiver."""

    mean: float
    max: float
    total: int


@dataclass(frozen=True)
class Line:
    """The state of a run after `round` rounds; what was not measured is None, with its reason in `not_measured`.

    epoch: passes over the agents' data, mean; agent_metric: of every agent's own model on the test samples;
    mean_model_metric: of the mean of the models; local_metric: of every agent's model on test samples weighted as its
    own labels are, mean; train_loss: mean over the rounds since the line before; test_loss: of the agents' models,
    mean; consensus_distance: (1/n) sum_i |x_i - mean|^2; gradient_evaluations: of an agent, mean; seconds: of wall time
    in training; waited_share: what of an agent's time passes in waiting for messages, mean, on the virtual
    clock where links are simulated; joules_a_round: what an agent's device takes in a training round, mean, gross.
    """

    round: int
    epoch: float
    agents: int
    metric_name: str
    agent_metric: Spread | None
    mean_model_metric: float | None
    local_metric: float | None
    train_loss: float | None
    test_loss: float | None
    lr: float
    gradient_evaluations: float
    consensus_distance: float | None
    bytes_sent: Traffic
    messages_sent: int
    seconds: float
    virtual_seconds: float | None
    waited_share: float | None = None
    joules_a_round: float | None = None
    not_measured: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self), allow_nan=False)

    @staticmethod
    def of(text: str) -> dict[str, Any]:
        """A line read back as plain values."""
        value: dict[str, Any] = json.loads(text)
        return value


REAL_LINKS = "these are real links"  # why a line has no virtual seconds


def wall_seconds(line: Mapping[str, Any]) -> float | None:
    """Wall time of a line where its links were real; None for the simulator, whose wall time says nothing of links."""
    real = (line.get("not_measured") or {}).get("virtual_seconds") == REAL_LINKS
    return float(line["seconds"]) if real else None
