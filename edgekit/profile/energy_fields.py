"""What a report says of energy: for each load a field or a reason, and its gain over the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from edgekit.errors import BadInput
from edgekit.profile.energy import Energy, WindowEnergy, difference, per_inference, window_energy
from edgekit.profile.energy_run import SYNC
from edgekit.profile.trace import Trace, Window

SPOILT: Final = frozenset(
    {"gap", "frozen", "outside", "empty", "went back"}
)  # flags of readings that are missing


@dataclass(frozen=True)
class Energies:
    """By load: the report's energy field, or the reason why there is none; gains are first over this, > 1 less.

    A field is {joules_per_inference (gross), ci95, method, scope, sensor, net {joules_per_inference, ci95} or None,
    idle_watts, sound {windows, joules_per_inference} or None, flags [{name, what}], windows, idle}. `sound` is
    what the windows without missing readings say, where some have them.
    """

    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    gains: dict[str, dict[str, Any]] = field(default_factory=dict)

    def reasons_of(self, name: str) -> dict[str, str]:
        """The reason of one load, as {"energy": reason}; {} where it has energy."""
        return {"energy": self.reasons[name]} if name in self.reasons else {}


def energies(
    trace: Trace, windows: Sequence[Window], names: Sequence[str], *, period: float = 0.0, quick: bool = False
) -> Energies:
    """Joules per inference of each load in `names`, from the windows that bear its name."""
    seen = [window_energy(trace, item, period=period, quick=quick) for item in windows if item.label != SYNC]
    idle = [item for item in seen if item.window.idle]
    loads = {name: [item for item in seen if item.window.label == name] for name in names}
    found = Energies()
    for name, own in loads.items():
        try:
            found.fields[name] = _field(trace, per_inference(own, idle))
        except BadInput as error:
            found.reasons[name] = str(error) if own else "no window of it ended"
    found.gains.update(_gains(loads, list(found.fields)))
    return found


def log_ratios(trace: Trace, windows: Sequence[Window], names: Sequence[str]) -> list[np.ndarray]:
    """log(first / other) [rounds] for each other load, of one load alone log(joules per inference) [rounds].

    A round counts where both windows have energy.
    """
    seen = {name: [window_energy(trace, item) for item in windows if item.label == name] for name in names}
    first, *others = seen.values()
    if not others:
        return [np.log([item.per_inference for item in first if item.joules])]
    return [np.log([a.per_inference / b.per_inference for a, b in _pairs(first, other)]) for other in others]


def method_of(trace: Trace) -> str:
    """How joules come from a trace."""
    return "counter differences" if trace.joules is not None else "trapezoid, interpolated edges"


def _field(trace: Trace, energy: Energy) -> dict[str, Any]:
    if energy.gross.value <= 0:
        raise BadInput("energy: the sensor saw no energy in any window. Compare it with: edgekit power watch")
    content = energy.to_json()
    gross = content.pop("gross")
    return {
        **gross,
        "method": method_of(trace),
        "scope": trace.scope,
        "sensor": trace.sensor,
        **content,
        "flags": _told_once(content["flags"]),
        "sound": _sound(energy.windows),
        "windows": [_window(item) for item in energy.windows],
        "idle": [_window(item) for item in energy.idle],
    }


def _told_once(flags: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The length of windows is told of loads, or else of rests, since all are as long."""
    told: list[Mapping[str, str]] = []
    for flag in flags:
        if flag["name"] not in ("quick", "short") or flag["name"] not in {item["name"] for item in told}:
            told.append(flag)
    return told


def _window(item: WindowEnergy) -> dict[str, Any]:
    """A window flat: when, how long, inferences, joules, watts, samples, rate, gap, errors, flags."""
    content = item.to_json()
    window = content.pop("window")
    known = item.joules is not None and item.window.inferences
    return {**window, "joules_per_inference": item.per_inference if known else None, **content}


def _sound(windows: Sequence[WindowEnergy]) -> dict[str, Any] | None:
    whole = [item for item in windows if not SPOILT & {flag.name for flag in item.flags}]
    if len(whole) in (0, len(windows)):
        return None
    mean = sum(item.per_inference for item in whole) / len(whole)
    return {"windows": len(whole), "joules_per_inference": mean}


def _gains(loads: Mapping[str, list[WindowEnergy]], known: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Windows are paired by round; a round counts where both have energy."""
    first = next(iter(loads), "")
    if first not in known:
        return {}
    return {
        name: gain
        for name in known
        if name != first and (gain := _gain(loads[first], loads[name])) is not None
    }


def _pairs(
    first: Sequence[WindowEnergy], other: Sequence[WindowEnergy]
) -> list[tuple[WindowEnergy, WindowEnergy]]:
    return [(a, b) for a, b in zip(first, other, strict=False) if a.joules and b.joules]


def _gain(first: Sequence[WindowEnergy], other: Sequence[WindowEnergy]) -> dict[str, Any] | None:
    pairs = _pairs(first, other)
    if len(pairs) < 2:
        return None
    seen = difference([a for a, _ in pairs], [b for _, b in pairs])
    return {
        "value": seen.ratio.value,
        "ci95": [seen.ratio.low, seen.ratio.high],
        "differs": seen.differs,
    }
