"""What makes a figure of energy worth less: in the readings, in one window, and over all windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from edgekit.profile.statistics import t_probability
from edgekit.profile.trace import Trace, Window, least_window

GAP: Final = 3.5  # planned intervals without a reading; a jittered sampler leaves up to 2 by itself
MISSING: Final = 0.02  # share of the planned readings
RARE: Final = 1e-3  # chance of a run of equal readings below which the sensor is called frozen
RUN: Final = 0.05  # share of a window that a frozen run takes at least
UNSURE: Final = 0.005  # sampling error over energy
DRIFT: Final = 0.01  # change over all windows, over their mean
IDLE_DRIFT: Final = 0.05  # between the idle windows before and after


class Flag(NamedTuple):
    """One thing that makes a figure worth less: its name, and what was seen."""

    name: str
    what: str


def outside_flag(times: np.ndarray) -> Flag:
    """For a window that readings at `times` do not reach."""
    reach = f"from {times[0]:.3f} to {times[-1]:.3f} s" if len(times) else "over nothing"
    return Flag("outside", f"the readings reach {reach}")


def reading_flags(trace: Trace, window: Window, values: np.ndarray, gap: float) -> list[Flag]:
    """Gap, frozen, went back; of the usable values in the window and its largest gap in seconds."""
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


def value_flags(joules: float, unsure: float) -> list[Flag]:
    """Zero, undersampled; of a window's energy and its sampling error, both in joules."""
    if joules <= 0:
        return [Flag("zero", "the sensor saw no energy")]
    if unsure > UNSURE * joules:
        share = 100 * unsure / joules
        return [Flag("undersampled", f"readings scatter so that the energy is known to {share:.1f} %")]
    return []


def length_flags(window: Window, period: float, *, quick: bool) -> list[Flag]:
    """Short, or quick where it was asked for; `period` is the sensor's own, in seconds."""
    least = least_window(period, quick=quick)
    if window.seconds >= least:
        return [Flag("quick", "windows of at least 2 s, not 10 s")] if quick else []
    return [Flag("short", f"the window lasts {window.seconds:.3g} s, less than {least:g} s")]


def flags_of_windows(windows: Sequence[Sequence[Flag]], where: str) -> list[Flag]:
    """Each flag once, as its first window tells it."""
    told = {flag.name: flag for flags in reversed(windows) for flag in reversed(flags)}
    return [Flag(name, f"{where}: {flag.what}") for name, flag in sorted(told.items())]


def failure_flags(failures: int, planned: float, *, allowed: float = MISSING) -> list[Flag]:
    """Lost: where more of the window's planned readings failed than is `allowed`; a sensor that has vanished."""
    if failures <= allowed * planned:
        return []
    share = 100 * min(failures / planned, 1.0)
    return [
        Flag("lost", f"{failures} readings failed ({share:.0f} %): the sensor did not answer or has vanished")
    ]


def lost_flags(windows: int, known: int) -> list[Flag]:
    """Where some of the windows have no energy."""
    count = windows - known
    return [Flag("lost", f"{count} of {windows} windows have no energy and are left out")] if count else []


def drift_flags(known: Sequence[Window], gross: np.ndarray) -> list[Flag]:
    """A line through the windows that rises or falls by more than 1 %, at 99 %."""
    if len(known) < 4 or not gross.mean():
        return []
    middle = np.array([(window.start + window.end) / 2 for window in known])
    x = middle - middle.mean()
    slope = float(x @ gross / (x @ x))
    rest = gross - gross.mean() - slope * x
    error = math.sqrt(float(rest @ rest) / (len(x) - 2) / float(x @ x))
    change = slope * float(np.ptp(x)) / float(gross.mean())
    unlikely = error == 0 or 2 * (1 - t_probability(abs(slope) / error, len(x) - 2)) < 0.01
    if abs(change) > DRIFT and unlikely:
        return [Flag("drift", f"energy changes by {100 * change:+.1f} % from the first window to the last")]
    return []


def idle_drift_flags(at_rest: Sequence[tuple[float, float]]) -> list[Flag]:
    """From the first idle window to the last; each gives its mean watts and their standard error."""
    if len(at_rest) < 2:
        return []
    (before, before_error), (after, after_error) = at_rest[0], at_rest[-1]
    sigma = math.hypot(before_error, after_error)
    change = abs(after - before) / max(abs(before), 1e-12)
    if change > IDLE_DRIFT or (change > DRIFT and abs(after - before) > 3 * sigma):
        return [Flag("idle drift", f"idle power was {before:.4g} W before and {after:.4g} W after")]
    return []


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
