"""Metrics: numbers from outputs and targets, with their interval, the same for a torch model and an artefact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MetricFunction = Callable[[np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class Score:
    """A metric's value over `n` samples, its 95 % interval, and what it was measured on ("artefact" or "torch").

    `samples` holds one score a sample where the metric decomposes, so that two models can be compared in pairs.
    """

    name: str
    value: float
    n: int
    ci95: tuple[float, float] | None
    higher_is_better: bool
    of: str
    samples: np.ndarray | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The report's `metric` field."""
        return {
            "name": self.name,
            "value": self.value,
            "n": self.n,
            "ci95": list(self.ci95) if self.ci95 else None,
            "higher_is_better": self.higher_is_better,
            "of": self.of,
        }

    def drop_from(self, baseline: Score) -> float:
        """How much worse this is than `baseline`, in the metric's unit; negative where it is better."""
        sign = 1.0 if self.higher_is_better else -1.0
        return sign * (baseline.value - self.value)


def score(function: MetricFunction, outputs: np.ndarray, targets: np.ndarray, *, of: str) -> Score:
    """Apply a metric `function(outputs, targets)` that returns a number, or one number a sample.

    The interval is value +- 1.96 s / sqrt(n) over samples; a metric that returns a single number has none.
    """
    result = np.asarray(function(outputs, targets), dtype=np.float64)
    name = getattr(function, "__name__", type(function).__name__)
    better = getattr(function, "higher_is_better", True)
    if result.ndim == 0:
        return Score(name, float(result), len(targets), None, better, of)
    mean = float(result.mean())
    half = 1.96 * float(result.std(ddof=1)) / np.sqrt(len(result)) if len(result) > 1 else 0.0
    return Score(name, mean, len(result), (mean - half, mean + half), better, of, samples=result)


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Top-1: 1 where the largest of outputs [n, classes] is the target [n], else 0."""
    return outputs.argmax(axis=1) == targets


def mean_squared_error(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean of (output - target)^2 over every dimension but the first; lower is better."""
    return ((outputs - targets) ** 2).reshape(len(outputs), -1).mean(axis=1)


mean_squared_error.higher_is_better = False  # type: ignore[attr-defined]
