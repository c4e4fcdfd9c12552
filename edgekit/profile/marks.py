"""Marks: the windows of a run in a file, and how a bench meter's trace is laid onto them."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edgekit.errors import BadInput
from edgekit.profile.energy_run import IDLE, SYNC
from edgekit.profile.trace import Trace, Window, unwrapped

CLEAR: Final = 0.5  # correlation of power with the windows below which a trace is not taken for theirs
MOST: Final = 400_000  # points of the grid on which trace and windows are compared


@dataclass(frozen=True)
class Alignment:
    """Trace time = mark time + offset, in seconds; and the correlation of power with the windows (None: given)."""

    offset: float
    correlation: float | None = None


def unix_windows(windows: Sequence[Window]) -> list[Window]:
    """Windows of the monotonic clock in seconds since 1970, all shifted by the same amount."""
    return shifted(windows, time.time() - time.monotonic())


def shifted(windows: Sequence[Window], offset: float) -> list[Window]:
    """The windows, `offset` seconds later."""
    return [replace(item, start=item.start + offset, end=item.end + offset) for item in windows]


def marks_text(windows: Sequence[Window]) -> str:
    """CSV of start,end,label,inferences, in seconds with microseconds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["start", "end", "label", "inferences"])
    for item in windows:
        writer.writerow([f"{item.start:.6f}", f"{item.end:.6f}", item.label, item.inferences or ""])
    return out.getvalue()


def align(trace: Trace, windows: Sequence[Window], offset: float | None = None) -> Alignment:
    """Where the windows lie in a meter's trace: `offset` where given, else found where marks have bursts, else 0.

    Found is the shift at which the mean power inside loads and bursts exceeds that of rests the most, by
    correlation on an even grid, refined by a parabola. BadInput where the trace is too short, or where its
    power does not follow the windows.
    """
    if offset is not None or not any(item.label == SYNC for item in windows):
        return Alignment(offset or 0.0)
    first, last = windows[0].start, windows[-1].end
    span, reach = last - first, float(trace.times[-1] - trace.times[0])
    if reach < span:
        raise BadInput(
            f"meter: the trace lasts {reach:.4g} s and the marks {span:.4g} s, so they cannot be laid onto each "
            "other. Record from before the first burst to the end, or give --offset S."
        )
    step = max(trace.step, reach / MOST)
    power, mark = _power(trace, step), _template(windows, first, span, step)
    found = _best_shift(power, mark)
    at = round(found)
    correlation = _correlation(power[at : at + len(mark)], mark)
    if not correlation >= CLEAR:
        raise BadInput(
            f"meter: the power in the trace does not follow the marks (correlation {correlation:.2f}, at least "
            f"{CLEAR:g} is needed). Is it of this run? If so, give --offset S: trace time minus mark time."
        )
    return Alignment(float(trace.times[0]) + found * step - first, correlation)


def _power(trace: Trace, step: float) -> np.ndarray:
    """Watts on an even grid from the trace's first reading."""
    times, values = trace.usable()
    watts = values if trace.joules is None else np.gradient(unwrapped(values, trace.wrap), times)
    return np.interp(np.arange(trace.times[0], trace.times[-1], step), times, watts)


def _template(windows: Sequence[Window], first: float, span: float, step: float) -> np.ndarray:
    """+1 inside loads and bursts, -1 at rest and between bursts, 0 where nothing is said."""
    at = first + np.arange(0.0, span, step)
    mark = np.zeros(len(at))
    bursts = [item for item in windows if item.label == SYNC]
    mark[(at >= bursts[0].start) & (at < bursts[-1].end)] = -1.0
    for item in windows:
        mark[(at >= item.start) & (at < item.end)] = -1.0 if item.label == IDLE else 1.0
    return mark


def _best_shift(power: np.ndarray, mark: np.ndarray) -> float:
    """The shift in steps, with a fraction, at which mean power where +1 exceeds that where -1 the most."""
    weight = np.where(mark > 0, mark / max((mark > 0).sum(), 1), mark / max((mark < 0).sum(), 1))
    size = len(power) + len(mark)
    spectrum = np.fft.rfft(power - power.mean(), size) * np.conj(np.fft.rfft(weight, size))
    score = np.fft.irfft(spectrum, size)[: max(len(power) - len(mark) + 1, 1)]
    best = int(np.argmax(score))
    if not 0 < best < len(score) - 1:
        return float(best)
    before, here, after = score[best - 1 : best + 2]
    bend = before - 2 * here + after
    return best + (0.5 * float((before - after) / bend) if bend else 0.0)


def _correlation(power: np.ndarray, mark: np.ndarray) -> float:
    said = mark != 0
    if power[said].std() == 0 or mark[said].std() == 0:
        return 0.0
    return float(np.corrcoef(power[said], mark[said])[0, 1])
