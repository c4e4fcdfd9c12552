"""A trace of power or of an energy counter, its windows, and integrals over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.errors import BadInput


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

    def failures(self, window: Window) -> int:
        """How many readings of a window failed."""
        values = np.asarray(self.watts if self.joules is None else self.joules, np.float64)
        inside = (self.times >= window.start) & (self.times <= window.end)
        return int((inside & ~np.isfinite(values)).sum())


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
