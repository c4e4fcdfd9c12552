"""What a training run says of the metrics: simulated, over a broker, or split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from edgekit import registry
from edgekit.profile import metric_slots as slots
from edgekit.profile.metrics import Better, Reading, Slot, rows
from edgekit.runs import statistics

Lines = Sequence[Mapping[str, Any]]
NO_ARTEFACT: Final = "a training run exports no artefact: edgekit compress and edgekit profile measure one"
KEPT: Final = 0.95  # of a run's gain, from where on it counts as settled


def metrics_of_cell(
    cell: Mapping[str, Any], runs: Sequence[Lines], *, producer: Literal["simulate", "train"]
) -> list[dict[str, Any]]:
    """The rows of a cell of summary.json, from its figures and the lines of each of its seeds."""
    last = next(iter(cell["last"].values()))
    seeds = f"{len(runs)} seed{'' if len(runs) == 1 else 's'}"
    found = [
        *_learned(cell["figures"], last, seeds),
        _over(slots.CONVERGENCE_ROUNDS, [convergence_rounds(lines) for lines in runs], seeds, _UNSETTLED),
        *_spent(cell["figures"], last, seeds, producer),
        _over(
            slots.RESOURCE_UTILIZATION,
            [utilization(lines[-1]) for lines in runs if lines],
            seeds,
            _idle(last),
        ),
        _over(
            slots.ROBUSTNESS, [robustness(lines) for lines in runs], seeds, "no agent was lost in this run"
        ),
        slots.PRIVACY.unknown(
            "agents send models, no samples; what these tell of the samples was not measured"
        ),
    ]
    return rows(producer, cell, found, absent=NO_ARTEFACT)


_UNSETTLED: Final = "it takes two evaluations or more, with a gain from the first to the last"


def _learned(figures: Mapping[str, Any], last: Mapping[str, Any], seeds: str) -> list[Reading]:
    name = str(last["metric_name"])
    how = f"mean of {last['agents']:,} agents after {last['round']:,} rounds, {seeds}"
    return [
        _figure(
            slots.TASK_METRIC,
            figures,
            "agent_metric_mean",
            how,
            "no agent told it",
            unit=name,
            better=better(name),
        ),
        _figure(slots.TRAINING_LOSS, figures, "train_loss", how, "no round was trained before the last line"),
    ]


def _spent(figures: Mapping[str, Any], last: Mapping[str, Any], seeds: str, producer: str) -> list[Reading]:
    why, real = last["not_measured"], producer == "train"
    name, clock = ("wall_seconds", "wall clock") if real else ("virtual_seconds", "virtual clock")
    no_joules = why.get("joules_a_round", "an older version ran it")
    return [
        _figure(
            slots.COMMUNICATION_COST, figures, "bytes_sent_mean", f"encoded payloads counted, {seeds}", ""
        ),
        _figure(
            slots.TRAINING_TIME, figures, name, f"{clock}, {seeds}", why.get("virtual_seconds", "unknown")
        ),
        _figure(
            slots.TRAINING_ENERGY, figures, "joules_a_round", f"each device's sensor, {seeds}", no_joules
        ),
    ]


def _figure(
    slot: Slot, figures: Mapping[str, Any], name: str, method: str, reason: str, **other: Any
) -> Reading:
    found = figures[name]
    source = f"figures.{name}"
    return slot.reading(
        found["mean"], method=method, source=source, reason=reason, ci95=found["ci95"], **other
    )


def _over(slot: Slot, values: Sequence[float | None], seeds: str, reason: str) -> Reading:
    """The mean over the seeds that have it."""
    found = statistics.spread([value for value in values if value is not None])
    method = (
        f"from the lines, {seeds}"
        if found["n"] == len(values)
        else f"from the lines, {found['n']} of {seeds}"
    )
    return slot.reading(found["mean"], method=method, source="run.jsonl", reason=reason, ci95=found["ci95"])


def _idle(last: Mapping[str, Any]) -> str:
    return str(last["not_measured"].get("waited_share", "an older version ran it"))


def better(metric: str) -> Better:
    """Which way a task's metric is better; `depends` for one that is not registered here."""
    if metric not in registry.metrics.names():
        return "depends"
    return "higher" if getattr(registry.metrics.get(metric), "higher_is_better", True) else "lower"


def convergence_rounds(lines: Lines) -> int | None:
    """The first evaluated round from which on at least 95 % of the gain of the metric, last minus first, is kept.

    None for fewer than two evaluations, and where the metric did not get better.
    """
    known = [(line["round"], _metric(line)) for line in lines if _metric(line) is not None]
    if len(known) < 2:
        return None
    sign = -1.0 if better(str(lines[0]["metric_name"])) == "lower" else 1.0
    first, gain = known[0][1], sign * (known[-1][1] - known[0][1])
    if gain <= 0:
        return None
    below = [round for round, value in known if sign * (value - first) < KEPT * gain]
    return next(int(round) for round, _ in known if round > max(below))


def utilization(line: Mapping[str, Any]) -> float | None:
    """1 - the share of a line's time that agents wait; None where that was not measured."""
    waited = line.get("waited_share")
    return None if waited is None else 1.0 - float(waited)


def robustness(lines: Lines) -> float | None:
    """The agents' metric at its worst from where agents were first lost on, over that of the line before.

    For a metric of which lower is better the inverse. None where no agent was lost.
    """
    lost = next((at for at in range(1, len(lines)) if lines[at]["agents"] < lines[at - 1]["agents"]), None)
    if lost is None:
        return None
    before = _metric(lines[lost - 1])
    after = [value for line in lines[lost:] if (value := _metric(line)) is not None]
    if not before or not after or min(after) <= 0:
        return None
    lower = better(str(lines[0]["metric_name"])) == "lower"
    return before / max(after) if lower else min(after) / before


def _metric(line: Mapping[str, Any]) -> Any:
    found = line["agent_metric"]
    return None if found is None else found["mean"]


def metrics_of_split(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a split run's summary.json, from its last line."""
    last = summary["last"]
    real = "frame_bytes" in last
    told = last["distance_correlation"]
    most = max(told, key=lambda name: told[name], default=None)
    elsewhere = "it is known at another agent"
    found = [
        slots.TASK_METRIC.reading(
            last["metric"],
            method=f"test samples after {last['step']:,} steps",
            source="last.metric",
            reason=elsewhere,
            unit=last["metric_name"],
            better=better(last["metric_name"]),
        ),
        slots.TRAINING_LOSS.reading(
            last["train_loss"],
            method="mean since the test before",
            source="last.train_loss",
            reason=elsewhere,
        ),
        _split_traffic(summary),
        slots.PRIVACY.reading(
            None if most is None else told[most],
            method=f"{most}, on test samples",
            source="last.distance_correlation",
            reason=elsewhere if real else "nothing computed from samples leaves their holder",
        ),
        slots.TRAINING_TIME.reading(
            last["seconds"] if real else last["virtual_seconds"],
            method="wall clock" if real else "virtual clock",
            source="last.seconds" if real else "last.virtual_seconds",
            reason="the run file has no links",
        ),
        *(slot.unknown("a split run does not measure it") for slot in _NOT_SPLIT),
    ]
    return rows("split", summary, found, absent=NO_ARTEFACT)


def _split_traffic(summary: Mapping[str, Any]) -> Reading:
    """The mean over agents; of a machine that was one of them its own."""
    last, agents = summary["last"], {row[side] for row in summary["leaves"] for side in ("from", "to")}
    sent, alone = last["bytes_sent"]["total"], "frame_bytes" in last and "agents" not in last
    count, whose = (1, "this agent's own") if alone else (max(len(agents), 1), f"of {len(agents)} agents")
    method = f"encoded payloads counted, {sent:,} B in all, {whose}"
    return slots.COMMUNICATION_COST.reading(sent / count, method=method, source="last.bytes_sent", reason="")


_NOT_SPLIT: Final = (
    slots.CONVERGENCE_ROUNDS,
    slots.RESOURCE_UTILIZATION,
    slots.ROBUSTNESS,
    slots.TRAINING_ENERGY,
)
