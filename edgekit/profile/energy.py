"""Energy from a trace of power: the joules of its windows, joules per inference, two models compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from edgekit.errors import BadInput
from edgekit.profile.energy_flags import (
    Flag,
    drift_flags,
    failure_flags,
    flags_of_windows,
    idle_drift_flags,
    length_flags,
    lost_flags,
    outside_flag,
    reading_flags,
    value_flags,
)
from edgekit.profile.statistics import Interval, mean_interval, t_quantile
from edgekit.profile.trace import Trace, Window, counted, integral, unwrapped

CLAIM: Final = 0.98  # confidence at which two models are said to differ


@dataclass(frozen=True)
class WindowEnergy:
    """A window's energy in joules (None: it cannot be known), mean watts, and how well it was sampled.

    edge_error and sampling_error are joules: what the readings' spacing leaves open at both ends, and what
    their scatter leaves open in between. mean_error is watts: the standard error of the mean power, from
    eight parts of the window, so that slow noise counts too. rate is readings a second, largest_gap seconds.
    """

    window: Window
    joules: float | None
    watts: float | None
    samples: int
    rate: float
    largest_gap: float
    edge_error: float
    sampling_error: float
    mean_error: float
    flags: tuple[Flag, ...] = ()

    @property
    def per_inference(self) -> float:
        """Joules per inference, or of the whole window where their number is unknown; NaN without energy."""
        return math.nan if self.joules is None else self.joules / (self.window.inferences or 1)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "flags": [flag._asdict() for flag in self.flags]}


@dataclass(frozen=True)
class Energy:
    """Joules per inference over windows, each with its 95 % interval (NaN ends: fewer than two windows)."""

    gross: Interval
    net: Interval | None
    idle_watts: float | None
    windows: tuple[WindowEnergy, ...]
    idle: tuple[WindowEnergy, ...]
    flags: tuple[Flag, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what is unknown is null."""
        return {
            "gross": _interval_json(self.gross),
            "net": _interval_json(self.net) if self.net else None,
            "idle_watts": self.idle_watts,
            "windows": [item.to_json() for item in self.windows],
            "idle": [item.to_json() for item in self.idle],
            "flags": [flag._asdict() for flag in self.flags],
        }


@dataclass(frozen=True)
class Difference:
    """How many times as much one model takes as another, its 95 % interval, and whether they differ at 98 %."""

    ratio: Interval
    differs: bool


def window_energy(trace: Trace, window: Window, *, period: float = 0.0, quick: bool = False) -> WindowEnergy:
    """The energy of one window; `period` is the sensor's own, in seconds.

    Flags: outside and empty (no energy then), lost, gap, frozen, undersampled, went back, zero, short.
    """
    if not window.end > window.start:
        raise BadInput(f"energy: the window from {window.start:g} to {window.end:g} s has no length.")
    times, values = trace.usable()
    inside = (times >= window.start) & (times <= window.end)
    reach = max(2 * trace.step, period)
    failures, planned = trace.failures(window), window.seconds / trace.step
    if len(times) < 2 or window.start < times[0] - reach or window.end > times[-1] + reach:
        lost = failure_flags(failures, planned, allowed=0.0)
        return _nothing(window, int(inside.sum()), outside_flag(times), *lost)
    if inside.sum() < 2:
        empty = Flag("empty", "fewer than two readings in the window")
        return _nothing(window, int(inside.sum()), empty, *failure_flags(failures, planned))
    if trace.joules is None:
        joules, power = integral(times, values, window.start, window.end), values
    else:
        joules = counted(times, values, window.start, window.end, trace.wrap)
        power = np.gradient(unwrapped(values, trace.wrap), times)
    gap = _largest_gap(times[inside], window)
    unsure = (
        0.0 if trace.joules is not None else _sampling_error(times[inside], power[inside]) * window.seconds
    )
    return WindowEnergy(
        window=window,
        joules=joules,
        watts=joules / window.seconds,
        samples=int(inside.sum()),
        rate=float(inside.sum() / window.seconds),
        largest_gap=gap,
        edge_error=_edge_error(times, power, window, trace.step),
        sampling_error=unsure,
        mean_error=_mean_error(times, power, window),
        flags=(
            *failure_flags(failures, planned),
            *reading_flags(trace, window, values[inside], gap),
            *value_flags(joules, unsure),
            *length_flags(window, max(period, 0.0), quick=quick),
        ),
    )


def per_inference(windows: Sequence[WindowEnergy], idle: Sequence[WindowEnergy] = ()) -> Energy:
    """Gross and net joules per inference: mean +- t s / sqrt(K) over K windows, never over readings.

    net = (E - P_idle T) / n with variance s^2(E / n) / K + (T / n)^2 s^2(P_idle) / M over M idle windows and
    Welch and Satterthwaite's degrees of freedom (Welch, 1947). Windows without energy are left out and flagged.
    """
    known = [item for item in windows if item.joules is not None]
    at_rest = [item for item in idle if item.watts is not None]
    if not known:
        raise BadInput(
            "energy: no window lies inside the trace. Compare the clocks of the trace and the windows."
        )
    gross = np.array([item.per_inference for item in known])
    counts = {bool(item.window.inferences) for item in known}
    if len(counts) > 1:
        raise BadInput(
            "energy: some windows name their inferences and some do not. Name them in all, or in none."
        )
    flags = [
        *lost_flags(len(windows), len(known)),
        *drift_flags([item.window for item in known], gross),
        *idle_drift_flags([(item.watts or 0.0, item.mean_error) for item in at_rest]),
        *flags_of_windows([item.flags for item in known], "in a window"),
        *flags_of_windows([item.flags for item in at_rest], "in an idle window"),
    ]
    return Energy(
        gross=_interval(gross),
        net=_net(known, gross, at_rest) if at_rest else None,
        idle_watts=float(np.mean([item.watts for item in at_rest])) if at_rest else None,
        windows=tuple(windows),
        idle=tuple(idle),
        flags=tuple(flags),
    )


def log_ratios(a: Sequence[WindowEnergy], b: Sequence[WindowEnergy]) -> np.ndarray:
    """ln(a / b) of each round [rounds], windows paired in order; BadInput where a round is not whole."""
    if len(a) != len(b) or len(a) < 2:
        raise BadInput(
            "energy: a comparison needs as many windows of one model as of the other, at least two."
        )
    logs: np.ndarray = np.log([x.per_inference / y.per_inference for x, y in zip(a, b, strict=True)])
    if not np.isfinite(logs).all():
        raise BadInput("energy: a window of the comparison has no energy. Measure its round again.")
    return logs


def difference(a: Sequence[WindowEnergy], b: Sequence[WindowEnergy]) -> Difference:
    """a / b over interleaved rounds: exp of the mean of log ratios with Student's t, windows paired in order.

    `differs` is decided at 98 %, so that two equal models are told apart in 2 of 100 comparisons.
    """
    logs = log_ratios(a, b)
    sure = mean_interval(logs, confidence=CLAIM)
    return Difference(Interval(*np.exp(mean_interval(logs)).tolist()), sure.low > 0 or sure.high < 0)


def _interval(values: np.ndarray) -> Interval:
    return mean_interval(values) if len(values) > 1 else Interval(float(values[0]), math.nan, math.nan)


def _net(known: list[WindowEnergy], gross: np.ndarray, at_rest: list[WindowEnergy]) -> Interval:
    idle = np.array([item.watts for item in at_rest], np.float64)
    seconds = np.array([item.window.seconds / (item.window.inferences or 1) for item in known])
    net = gross - idle.mean() * seconds
    mean = float(net.mean())
    if len(net) < 2 or len(idle) < 2:
        return Interval(mean, math.nan, math.nan)
    # the first part has P_idle as one constant: what the length of a window adds to E, it takes off again
    parts = [
        (float(net.var(ddof=1)) / len(net), len(net) - 1),
        (float(seconds.mean() ** 2 * idle.var(ddof=1)) / len(idle), len(idle) - 1),
    ]
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / freedom for variance, freedom in parts)
    freedom = total**2 / below if below else float(len(net) - 1)
    half = t_quantile(0.975, freedom) * math.sqrt(total)
    return Interval(mean, mean - half, mean + half)


def _nothing(window: Window, samples: int, *flags: Flag) -> WindowEnergy:
    return WindowEnergy(
        window, None, None, samples, samples / window.seconds, window.seconds, 0.0, 0.0, 0.0, flags
    )


def _largest_gap(times: np.ndarray, window: Window) -> float:
    """Seconds, from the window's ends too."""
    return float(np.max(np.diff(np.concatenate(([window.start], times, [window.end])))))


def _edge_error(times: np.ndarray, power: np.ndarray, window: Window, step: float) -> float:
    """|jump of power| x interval / 2 at each end, in joules."""
    ends = np.clip(np.searchsorted(times, [window.start, window.end]), 1, len(times) - 1)
    return float(np.sum(np.abs(power[ends] - power[ends - 1])) * step / 2)


def _sampling_error(times: np.ndarray, watts: np.ndarray) -> float:
    """sqrt((v + (m - 2 v) / 12) / n) in watts, m the mean square step and v what of it goes back in the next.

    Scatter makes steps that return (v = -mean of d_i d_i+1 is its variance) and counts in full; a step that
    stays is a change of the load, of which only the moment inside its interval is unknown (d^2 / 12).
    """
    steps = np.diff(watts)
    square = float(np.mean(steps**2))
    scatter = (
        float(np.clip(-np.mean(steps[1:] * steps[:-1]), 0.0, square / 2)) if len(steps) > 1 else square / 2
    )
    return math.sqrt((scatter + (square - 2 * scatter) / 12) / len(times))


def _mean_error(times: np.ndarray, power: np.ndarray, window: Window) -> float:
    """s / sqrt(8) over the means of eight equal parts (batch means: Conway, 1963)."""
    first, last = np.searchsorted(times, [window.start, window.end])
    near = slice(max(int(first) - 1, 0), int(last) + 1)
    at, watts = times[near], power[near]
    joules = np.concatenate(([0.0], np.cumsum(0.5 * (watts[1:] + watts[:-1]) * np.diff(at))))
    parts = np.diff(np.interp(np.linspace(window.start, window.end, 9), at, joules)) * 8 / window.seconds
    return float(parts.std(ddof=1)) / math.sqrt(8)


def _interval_json(value: Interval) -> dict[str, Any]:
    ends = None if math.isnan(value.low) else [value.low, value.high]
    return {"joules_per_inference": value.value, "ci95": ends}
