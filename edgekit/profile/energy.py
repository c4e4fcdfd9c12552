"""Energy from a trace of power: integrals over windows, what is wrong with them, joules per inference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from edgekit.errors import BadInput
from edgekit.profile.statistics import Interval, mean_interval, t_probability, t_quantile

GAP: Final = 3.5  # planned intervals without a reading; a jittered sampler leaves up to 2 by itself
MISSING: Final = 0.02  # share of the planned readings
RARE: Final = 1e-3  # chance of a run of equal readings below which the sensor is called frozen
RUN: Final = 0.05  # share of a window that a frozen run takes at least
UNSURE: Final = 0.005  # sampling error over energy
DRIFT: Final = 0.01  # change over all windows, over their mean
IDLE_DRIFT: Final = 0.05  # between the idle windows before and after
CLAIM: Final = 0.98  # confidence at which two models are said to differ


@dataclass(frozen=True)
class Trace:
    """One sensor's readings: seconds [n] with watts [n] or a counter in joules [n]; NaN where a reading failed.

    interval: seconds from one reading to the next as planned (default: their median).
    wrap: joules at which the counter starts again at 0 (None: it never does).
    """

    times: np.ndarray
    watts: np.ndarray | None = None
    joules: np.ndarray | None = None
    interval: float | None = None
    wrap: float | None = None
    sensor: str = ""
    scope: str = ""

    def __post_init__(self) -> None:
        values = self.watts if self.joules is None else self.joules
        if values is None or len(values) != len(self.times) or len(self.times) < 2:
            raise BadInput("energy: a trace needs at least two readings, each with its time.")
        if not (np.diff(self.times) > 0).all():
            raise BadInput("energy: the times of a trace must rise. Sort it, and drop readings that repeat.")

    @property
    def step(self) -> float:
        """Seconds from one reading to the next, as planned or else the median."""
        return self.interval or float(np.median(np.diff(self.times)))

    def usable(self) -> tuple[np.ndarray, np.ndarray]:
        """The times and values of the readings that did not fail."""
        values = self.watts if self.joules is None else self.joules
        good = np.isfinite(np.asarray(values, np.float64))
        return self.times[good], np.asarray(values, np.float64)[good]


@dataclass(frozen=True)
class Window:
    """A stretch of time in seconds, and how many inferences ran in it; `idle` where none did on purpose."""

    start: float
    end: float
    label: str = ""
    inferences: int | None = None

    @property
    def seconds(self) -> float:
        """The length."""
        return self.end - self.start

    @property
    def idle(self) -> bool:
        """Whether this window measures the board at rest."""
        return self.label == "idle"


class Flag(NamedTuple):
    """One thing that makes a figure worth less: its name, and what was seen."""

    name: str
    what: str


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


def least_window(period: float, *, quick: bool = False) -> float:
    """Seconds that a window lasts at least: max(10 s, 100 sensor periods); 2 s where quick, to be labelled."""
    return 2.0 if quick else max(10.0, 100.0 * period)


def integral(times: np.ndarray, watts: np.ndarray, start: float, end: float) -> float:
    """E = sum (P_i + P_i+1) / 2 (t_i+1 - t_i) in joules from start to end, the ends interpolated.

    Outside the readings the nearest one holds.
    """
    first, last = np.searchsorted(times, start, "right"), np.searchsorted(times, end, "left")
    at = np.concatenate(([start], times[first:last], [end]))
    power = np.concatenate(
        ([np.interp(start, times, watts)], watts[first:last], [np.interp(end, times, watts)])
    )
    return float(np.sum(0.5 * (power[1:] + power[:-1]) * np.diff(at)))


def unwrapped(joules: np.ndarray, wrap: float | None) -> np.ndarray:
    """A counter from 0 on: its differences added up, each negative one with `wrap` joules more."""
    steps = np.diff(joules)
    if wrap:
        steps = np.where(steps < 0, steps + wrap, steps)
    return np.concatenate(([0.0], np.cumsum(np.maximum(steps, 0.0))))


def counted(times: np.ndarray, joules: np.ndarray, start: float, end: float, wrap: float | None) -> float:
    """E = C(end) - C(start) in joules, the counter C unwrapped and linear between its readings."""
    at = np.interp([start, end], times, unwrapped(joules, wrap))
    return float(at[1] - at[0])


def window_energy(trace: Trace, window: Window, *, period: float = 0.0, quick: bool = False) -> WindowEnergy:
    """The energy of one window; `period` is the sensor's own, in seconds.

    Flags: outside (no energy then), empty, gap, frozen, undersampled, went back, zero, short.
    """
    if not window.end > window.start:
        raise BadInput(f"energy: the window from {window.start:g} to {window.end:g} s has no length.")
    times, values = trace.usable()
    inside = (times >= window.start) & (times <= window.end)
    reach = max(2 * trace.step, period)
    if len(times) < 2 or window.start < times[0] - reach or window.end > times[-1] + reach:
        return _nothing(window, int(inside.sum()), _outside(times))
    if inside.sum() < 2:
        return _nothing(window, int(inside.sum()), Flag("empty", "fewer than two readings in the window"))
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
            *_reading_flags(trace, window, values[inside], gap),
            *_value_flags(joules, unsure),
            *_length_flags(window, max(period, 0.0), quick=quick),
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
    flags = [*_lost(windows, known), *_drift(known, gross), *_idle_drift(at_rest)]
    flags += _of_windows(known, "in a window") + _of_windows(at_rest, "in an idle window")
    return Energy(
        gross=_interval(gross),
        net=_net(known, gross, at_rest) if at_rest else None,
        idle_watts=float(np.mean([item.watts for item in at_rest])) if at_rest else None,
        windows=tuple(windows),
        idle=tuple(idle),
        flags=tuple(flags),
    )


def difference(a: Sequence[WindowEnergy], b: Sequence[WindowEnergy]) -> Difference:
    """a / b over interleaved rounds: exp of the mean of log ratios with Student's t, windows paired in order.

    `differs` is decided at 98 %, so that two equal models are told apart in 2 of 100 comparisons.
    """
    if len(a) != len(b) or len(a) < 2:
        raise BadInput(
            "energy: a comparison needs as many windows of one model as of the other, at least two."
        )
    logs = np.log([x.per_inference / y.per_inference for x, y in zip(a, b, strict=True)])
    if not np.isfinite(logs).all():
        raise BadInput("energy: a window of the comparison has no energy. Measure its round again.")
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


def _nothing(window: Window, samples: int, flag: Flag) -> WindowEnergy:
    return WindowEnergy(
        window, None, None, samples, samples / window.seconds, window.seconds, 0.0, 0.0, 0.0, (flag,)
    )


def _outside(times: np.ndarray) -> Flag:
    reach = f"from {times[0]:.3f} to {times[-1]:.3f} s" if len(times) else "over nothing"
    return Flag("outside", f"the readings reach {reach}")


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


def _reading_flags(trace: Trace, window: Window, values: np.ndarray, gap: float) -> list[Flag]:
    flags = []
    planned = window.seconds / trace.step
    missing = 1 - len(values) / planned
    if gap > GAP * trace.step or missing > max(MISSING, 2 / planned):
        flags.append(
            Flag(
                "gap",
                f"up to {gap:.3g} s without a reading, {100 * max(missing, 0):.0f} % of readings missing",
            )
        )
    run = _frozen(values)
    if run:
        flags.append(
            Flag("frozen", f"{run} readings in a row are the same: frozen, or steadier than it can tell")
        )
    if trace.joules is not None and not trace.wrap and (np.diff(values) < 0).any():
        flags.append(Flag("went back", "the counter fell, and where it wraps is not known"))
    return flags


def _frozen(values: np.ndarray) -> int:
    """The longest run of equal readings where chance would hardly make it, else 0.

    With q the share of equal neighbours outside the run, a run of L repeats among n readings has a chance of
    about n q^L.
    """
    same = np.concatenate(([False], np.diff(values) == 0, [False]))
    edges = np.flatnonzero(np.diff(same.astype(np.int8)))
    longest = int((edges[1::2] - edges[::2]).max()) if len(edges) else 0
    if longest + 1 < max(5, RUN * len(values)):
        return 0
    outside = len(values) - 1 - longest
    share = (int(same.sum()) - longest + 1) / (outside + 2)
    if longest + 1 < len(values) and len(values) * share**longest > RARE:
        return 0
    return longest + 1


def _value_flags(joules: float, unsure: float) -> list[Flag]:
    if joules <= 0:
        return [Flag("zero", "the sensor saw no energy")]
    if unsure > UNSURE * joules:
        share = 100 * unsure / joules
        return [Flag("undersampled", f"readings scatter so that the energy is known to {share:.1f} %")]
    return []


def _length_flags(window: Window, period: float, *, quick: bool) -> list[Flag]:
    least = least_window(period, quick=quick)
    if window.seconds >= least:
        return [Flag("quick", "windows of at least 2 s, not 10 s")] if quick else []
    return [Flag("short", f"the window lasts {window.seconds:.3g} s, less than {least:g} s")]


def _of_windows(windows: Sequence[WindowEnergy], where: str) -> list[Flag]:
    """Each flag once, as its first window tells it."""
    told = {flag.name: flag for item in reversed(windows) for flag in reversed(item.flags)}
    return [Flag(name, f"{where}: {flag.what}") for name, flag in sorted(told.items())]


def _lost(windows: Sequence[WindowEnergy], known: list[WindowEnergy]) -> list[Flag]:
    count = len(windows) - len(known)
    return (
        [Flag("lost", f"{count} of {len(windows)} windows have no energy and are left out")] if count else []
    )


def _drift(known: list[WindowEnergy], gross: np.ndarray) -> list[Flag]:
    """A line through the windows that rises or falls by more than 1 %, at 99 %."""
    if len(known) < 4:
        return []
    middle = np.array([(item.window.start + item.window.end) / 2 for item in known])
    x = middle - middle.mean()
    slope = float(x @ gross / (x @ x))
    rest = gross - gross.mean() - slope * x
    error = math.sqrt(float(rest @ rest) / (len(x) - 2) / float(x @ x))
    change = slope * float(np.ptp(x)) / float(gross.mean())
    unlikely = error == 0 or 2 * (1 - t_probability(abs(slope) / error, len(x) - 2)) < 0.01
    if abs(change) > DRIFT and unlikely:
        return [Flag("drift", f"energy changes by {100 * change:+.1f} % from the first window to the last")]
    return []


def _idle_drift(at_rest: list[WindowEnergy]) -> list[Flag]:
    if len(at_rest) < 2:
        return []
    first, last = at_rest[0], at_rest[-1]
    before, after = first.watts or 0.0, last.watts or 0.0
    sigma = math.hypot(first.mean_error, last.mean_error)
    change = abs(after - before) / max(abs(before), 1e-12)
    if change > IDLE_DRIFT or (change > DRIFT and abs(after - before) > 3 * sigma):
        return [Flag("idle drift", f"idle power was {before:.4g} W before and {after:.4g} W after")]
    return []


def _interval_json(value: Interval) -> dict[str, Any]:
    ends = None if math.isnan(value.low) else [value.low, value.high]
    return {"joules_per_inference": value.value, "ci95": ends}
