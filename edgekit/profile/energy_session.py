"""The energy of several artefacts on this machine, by a sensor here or, afterwards, by a bench meter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgekit.errors import BadInput
from edgekit.profile.clock import pinned
from edgekit.profile.energy_fields import Energies, energies, log_ratios, method_of
from edgekit.profile.energy_run import EnergyPlan, More, Say, WindowRun, run_windows, seconds_needed
from edgekit.profile.item import Item
from edgekit.profile.latency import batch_of
from edgekit.profile.rounds import more_rounds
from edgekit.profile.sampler import Sampler, Sensor
from edgekit.profile.trace import Window


@dataclass(frozen=True)
class EnergySession:
    """The windows that ran, what they say of each artefact, facts of the measurement, and why it ended early."""

    windows: tuple[Window, ...]
    energies: Energies
    facts: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""


def sensed(
    items: Sequence[Item], plan: EnergyPlan, sensor: Sensor, *, threads: int = 1, say: Say | None = None
) -> EnergySession:
    """Windows of every artefact while a sensor is read; a sensor that fails meanwhile leaves flags or reasons."""
    names = [item.name for item in items]
    try:
        sampler = Sampler(sensor)
    except BadInput as error:
        return EnergySession((), Energies(reasons=dict.fromkeys(names, str(error))))
    with sampler:  # begun before the cores are pinned, so that the sampler keeps off them where it can
        more = _until_known(sampler, names, plan.within) if plan.within else None
        ran = _run(items, plan, sensor.period, threads=threads, more=more, say=say)
    cost = sampler.cost
    facts = {
        "by": "sensor",
        "sensor": sensor.name,
        "scope": str(sensor.scope),
        "note": getattr(sensor, "note", ""),
        "period_s": sensor.period,
        "interval_s": sampler.interval,
        **_facts(plan, sensor.period),
        "readings": cost.readings,
        "failures": cost.failures,
        "failure": cost.failure,
        "sampler_core_share": cost.share,
    }
    try:
        trace = sampler.trace()
        found = energies(trace, ran.windows, names, period=sensor.period, quick=plan.quick)
        facts["method"] = method_of(trace)
    except BadInput as error:
        found = Energies(reasons=dict.fromkeys(names, str(error)))
    return EnergySession(ran.windows, _with_failures(found, facts), facts, ran.stopped)


def unsensed(
    items: Sequence[Item], plan: EnergyPlan, *, threads: int = 1, say: Say | None = None
) -> EnergySession:
    """Windows of every artefact for a bench meter, with bursts first; their energy is read from its file later."""
    ran = _run(items, plan, 0.0, threads=threads, sync=True, say=say)
    reason = "a bench meter has it: read its file with --meter TRACE --marks FILE"
    found = Energies(reasons=dict.fromkeys([item.name for item in items], reason))
    return EnergySession(ran.windows, found, {"by": "marks", **_facts(plan, 0.0)}, ran.stopped)


def _run(
    items: Sequence[Item],
    plan: EnergyPlan,
    period: float,
    *,
    threads: int,
    sync: bool = False,
    more: More | None = None,
    say: Say | None = None,
) -> WindowRun:
    seconds = plan.seconds(period)
    if say:
        whole = seconds_needed(len(items), seconds=seconds, rounds=plan.windows, period=period)
        least = "at least " if more else ""
        what = f"{least}{plan.windows} windows of {seconds:g} s a file"
        say(f"energy: {what}, idle before and after: {least}{whole:.0f} s")
    with pinned(threads):
        loads = {item.name: item.call(threads) for item in items}
        return run_windows(
            loads,
            seconds=seconds,
            rounds=plan.windows,
            batch=batch_of(items[0].feeds),
            period=period,
            sync=sync,
            more=more,
            say=say,
        )


def _until_known(sampler: Sampler, names: Sequence[str], within: float) -> More:
    """More rounds while a ratio is known to less than `within`, by what was read so far; none without energy."""

    def more(windows: Sequence[Window]) -> int:
        try:
            logs = log_ratios(sampler.trace(), windows, names)
        except BadInput:
            return 0
        return max(more_rounds(values, wanted=within) if len(values) else 0 for values in logs)

    return more


def _facts(plan: EnergyPlan, period: float) -> dict[str, Any]:
    return {"window_s": plan.seconds(period), "rounds": plan.windows, "quick": plan.quick}


def _with_failures(found: Energies, facts: dict[str, Any]) -> Energies:
    """Readings that failed are a flag of every field, and follow every reason."""
    if not facts["failures"]:
        return found
    what = f"{facts['failures']} of {facts['readings']} readings failed, the last: {facts['failure']}"
    for value in found.fields.values():
        value["flags"].append({"name": "failed readings", "what": what})
    return Energies(found.fields, {name: f"{why} {what}" for name, why in found.reasons.items()}, found.gains)
