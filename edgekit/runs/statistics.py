"""Figures over seeds: mean, deviation, interval, and paired differences between cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekit.profile.statistics import mean_interval
from edgekit.runs.line import wall_seconds

# what is summed up of every last line: name -> where it lies in the line
FIGURES: Mapping[str, tuple[str, ...]] = {
    "agent_metric_mean": ("agent_metric", "mean"),
    "agent_metric_min": ("agent_metric", "min"),
    "agent_metric_max": ("agent_metric", "max"),
    "agent_metric_std": ("agent_metric", "std"),
    "mean_model_metric": ("mean_model_metric",),
    "local_metric": ("local_metric",),
    "train_loss": ("train_loss",),
    "test_loss": ("test_loss",),
    "consensus_distance": ("consensus_distance",),
    "rounds_to_consensus": ("rounds_to_consensus",),
    "gradient_evaluations": ("gradient_evaluations",),
    "bytes_sent_mean": ("bytes_sent", "mean"),
    "bytes_sent_max": ("bytes_sent", "max"),
    "messages_sent": ("messages_sent",),
    "seconds": ("seconds",),
    "virtual_seconds": ("virtual_seconds",),
    "wall_seconds": ("wall_seconds",),
    "waited_share": ("waited_share",),
    "joules_a_round": ("joules_a_round",),
}


def rounds_to_consensus(lines: Sequence[Mapping[str, Any]], *, left: float = 0.01) -> int | None:
    """The first evaluated round from which on the consensus distance is at most `left` of that at the start.

    None where the models were equal at the start, or never came so near.
    """
    start = lines[0]["consensus_distance"] if lines else None
    if not start:
        return None
    far = [line["round"] for line in lines if (line["consensus_distance"] or 0.0) > left * start]
    after = [line["round"] for line in lines if line["round"] > max(far)]
    return int(after[0]) if after else None


def figure(line: Mapping[str, Any], name: str) -> float | None:
    """One figure of a line; None where it was not measured."""
    if name == "wall_seconds":
        return wall_seconds(line)
    value: Any = line
    for part in FIGURES[name]:
        value = None if value is None else value.get(part)
    return None if value is None else float(value)


def over_seeds(lines: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """{"mean", "std", "ci95", "n"} of a figure over the last lines of all seeds; nulls where there is none."""
    return spread([value for line in lines if (value := figure(line, name)) is not None])


def spread(values: Sequence[float]) -> dict[str, Any]:
    """{"mean", "std", "ci95", "n"} of values, one a seed; nulls where there is none."""
    if not values:
        return {"mean": None, "std": None, "ci95": None, "n": 0}
    if len(values) == 1:
        return {"mean": values[0], "std": None, "ci95": None, "n": 1}
    interval = mean_interval(values)
    deviation = float(np.std(values, ddof=1))
    return {"mean": interval.value, "std": deviation, "ci95": [interval.low, interval.high], "n": len(values)}


def paired(
    first: Mapping[int, Mapping[str, Any]], second: Mapping[int, Mapping[str, Any]], name: str
) -> dict[str, Any] | None:
    """first - second of a figure, seed by seed: {"mean", "ci95", "n"}; None without a common seed."""
    gaps = []
    for seed in sorted(set(first) & set(second)):
        one, two = figure(first[seed], name), figure(second[seed], name)
        if one is not None and two is not None:
            gaps.append(one - two)
    if not gaps:
        return None
    if len(gaps) == 1:
        return {"mean": gaps[0], "ci95": None, "n": 1}
    interval = mean_interval(gaps)
    return {"mean": interval.value, "ci95": [interval.low, interval.high], "n": len(gaps)}
