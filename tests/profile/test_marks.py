"""Marks go round through a file, and a meter's trace is laid onto them where it was shifted by a known time."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.profile.energy_fields import energies
from edgekit.profile.marks import align, marks_text, shifted, unix_windows
from edgekit.profile.trace import Trace, Window
from firmware_bridge.power.windows import read_windows


def session(*, bursts: int = 3, rounds: int = 5, length: float = 2.0) -> list[Window]:
    """Bursts of 1 s, a rest, loads with 0.2 s of the load before each, a rest."""
    found = [Window(100.0 + 2 * index, 101.0 + 2 * index, "sync", 10) for index in range(bursts)]
    at = 106.2
    found.append(Window(at, at + length, "idle"))
    for _ in range(rounds):
        at += length + 0.2
        found.append(Window(at, at + length, "net", 20))
    at += length + 0.2
    return [*found, Window(at, at + length, "idle")]


def metered(windows: list[Window], shift: float, *, step: float, noise: float = 0.02, seed: int = 0) -> Trace:
    """1 W at rest and 3 W while something runs, from 4 s before to 6 s after, `shift` seconds later."""
    times = np.arange(windows[0].start - 4, windows[-1].end + 6, step)
    watts = np.ones(len(times))
    for before, item in zip([windows[0], *windows], windows, strict=False):
        begun = item.start if item.label == "sync" else before.end
        if item.label != "idle":
            watts[(times >= begun) & (times < item.end)] = 3.0
    watts += np.random.default_rng(seed).normal(0, noise, len(times))
    return Trace(times + shift, watts, sensor="meter.csv", scope="wall")


@pytest.mark.parametrize("shift", [0.0, -98.7654, 1e6 + 0.123])
@pytest.mark.parametrize(("step", "noise"), [(0.001, 0.02), (0.05, 0.02), (0.01, 1.0)])
def test_a_shift_is_found_to_a_reading(shift: float, step: float, noise: float):
    windows = session()
    trace = metered(windows, shift, step=step, noise=noise)
    found = align(trace, windows)
    assert found.offset == pytest.approx(shift, abs=1.5 * step)
    assert found.correlation is not None
    assert found.correlation > 0.6
    energy = energies(trace, shifted(windows, found.offset), ["net"]).fields["net"]
    assert energy["joules_per_inference"] == pytest.approx(3.0 * 2.0 / 20, rel=0.02)
    assert energy["net"]["joules_per_inference"] == pytest.approx(2.0 * 2.0 / 20, rel=0.06)


def test_a_counter_is_laid_onto_the_marks_too():
    windows = session()
    power = metered(windows, 5.5, step=0.01, noise=0.0)
    joules = np.concatenate(([0.0], np.cumsum(np.asarray(power.watts)[:-1] * np.diff(power.times))))
    assert align(Trace(power.times, joules=joules), windows).offset == pytest.approx(5.5, abs=0.02)


def test_a_given_offset_wins_and_without_bursts_it_is_zero():
    windows = session()
    trace = metered(windows, 3.0, step=0.01)
    assert align(trace, windows, 7.0).offset == 7.0
    assert align(trace, windows[3:]).offset == 0.0
    assert align(trace, windows[3:]).correlation is None


def test_what_does_not_follow_the_marks_is_refused():
    windows = session()
    times = np.arange(0, 60, 0.01)
    noise = Trace(times, 2 + np.random.default_rng(1).normal(0, 0.1, len(times)))
    with pytest.raises(BadInput, match=r"does not follow the marks \(correlation 0\.\d\d.*--offset S"):
        align(noise, windows)
    with pytest.raises(BadInput, match="does not follow the marks"):
        align(Trace(times, np.full(len(times), 2.0)), windows)
    with pytest.raises(BadInput, match=r"the trace lasts 5 s and the marks \d"):
        align(Trace(times[:501], np.ones(501)), windows)


def test_marks_go_round_through_a_file(tmp_path):
    windows = session()
    path = tmp_path / "marks.csv"
    path.write_text(marks_text(windows))
    assert path.read_text().splitlines()[0] == "start,end,label,inferences"
    assert marks_text(read_windows(path)) == path.read_text()
    assert [(item.label, item.inferences) for item in read_windows(path)] == [
        (w.label, w.inferences) for w in windows
    ]


def test_unix_marks_keep_every_length(monkeypatch):
    windows = session()
    moved = unix_windows(windows)
    assert moved[0].start > 1.7e9
    assert [item.end - item.start for item in moved] == pytest.approx(
        [item.seconds for item in windows], abs=1e-6
    )
    assert len({round(new.start - old.start, 6) for new, old in zip(moved, windows, strict=True)}) == 1
