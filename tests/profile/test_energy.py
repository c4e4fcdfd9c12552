"""Energy of windows against measured traces with published results, and against waveforms whose integral is known."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.profile.energy import difference, per_inference, window_energy
from edgekit.profile.trace import Trace, Window, counted, integral, least_window, unwrapped
from tests.benchmarks.energy_waves import (
    CLEAN,
    COUNT,
    FAULTY,
    LENGTH,
    MEAN,
    STEP,
    bias_and_flags,
    caught,
    clean,
    coverage,
    faulty,
    schedule,
    sequential,
    square,
    stamps,
    told_apart,
)
from tests.paths import SHARED

TASKS = ("ad", "ic", "kws")
INFERENCES = {"ad": 1500, "ic": 50, "kws": 150}


# --- measured traces -------------------------------------------------------------------------------------


def published(task: str) -> list[float]:
    """Joules of the five windows, as the MLPerf Tiny runner printed them."""
    text = (SHARED / "energy" / f"NUCLEO_L4R5ZI_{task}_results.txt").read_text()
    return [1e-6 * float(word) for word in re.findall(r"Energy\s+:\s+([\d.]+) uJ\n", text)]


def per_inference_published(task: str) -> list[float]:
    text = (SHARED / "energy" / f"NUCLEO_L4R5ZI_{task}_results.txt").read_text()
    return [1e-6 * float(word) for word in re.findall(r"Energy/Inf\.\s+:\s+([\d.]+) uJ", text)]


def measured(task: str):
    from firmware_bridge.power.meter import read_meter
    from firmware_bridge.power.windows import read_windows

    base = SHARED / "energy" / f"NUCLEO_L4R5ZI_{task}_trace1"
    if not base.with_name(base.name + "-energy.bin").exists():
        pytest.skip(f"measured traces absent: {base.parent}")
    windows = read_windows(base.with_name(base.name + "-timestamps.json"), inferences=INFERENCES[task])
    file = read_meter(base.with_name(base.name + "-energy.bin"))
    return [window_energy(file.trace, window) for window in windows], file


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("task", TASKS)
def test_a_measured_window_has_its_published_energy(task: str, index: int):
    windows, file = measured(task)
    assert len(windows) == len(published(task)) == 5
    assert file.faults == ()
    assert windows[index].joules == pytest.approx(published(task)[index], rel=2e-4)
    assert windows[index].per_inference == pytest.approx(per_inference_published(task)[index], rel=2e-4)


@pytest.mark.parametrize("task", TASKS)
def test_measured_windows_carry_no_flag_and_a_narrow_interval(task: str):
    windows, _ = measured(task)
    energy = per_inference(windows)
    assert energy.flags == ()
    assert energy.gross.low <= float(np.median(per_inference_published(task))) <= energy.gross.high
    assert (energy.gross.high - energy.gross.low) / energy.gross.value < 2e-3
    assert all(item.edge_error < 2e-4 * (item.joules or 0) for item in windows)


# --- waveforms -------------------------------------------------------------------------------------------

TRIES = 300


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_trace_has_under_1_percent_bias_and_hardly_a_flag(name: str):
    bias, worst, flagged = bias_and_flags(name, TRIES)
    assert abs(bias) < 0.002
    assert worst < (0.03 if name == "red" else 0.015)  # AR(1) noise of 2 % moves a mean of 200 by 0.6 %
    assert flagged <= 0.05


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_trace_is_flagged(name: str):
    assert caught(name, TRIES) >= 0.95


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("frozen", "frozen"),
        ("gap", "gap"),
        ("lost readings", "gap"),
        ("failed readings", "lost"),
        ("ends early", "outside"),
        ("aliased", "undersampled"),
        ("counter stopped", "frozen"),
        ("wrap unknown", "went back"),
    ],
)
def test_the_flag_names_the_fault(name: str, flag: str):
    flags = {item.name: item.what for item in window_energy(*faulty(name, 1)).flags}
    assert flag in flags
    assert flags[flag]


def test_jittered_readings_of_a_load_at_their_own_rate_are_unbiased_and_even_ones_are_not():
    """A square wave of 20 Hz read 20 times a second: evenly, each trace sees one phase only."""
    window, jittered, even = Window(1.0, 11.0), [], []
    for seed in range(200):
        wave = square(np.random.default_rng(seed), (1 / STEP, 1 / STEP))
        for kept, times in ((jittered, stamps(12.0, seed)), (even, stamps(12.0, seed, even=True) + 1e-4)):
            kept.append(integral(times, wave(times), window.start, window.end) / (MEAN * LENGTH) - 1)
    assert abs(np.mean(jittered)) < 0.01
    assert np.std(jittered) < 0.03
    assert np.std(even) > 0.1


# --- exactness -------------------------------------------------------------------------------------------


def test_a_ramp_is_integrated_exactly_whatever_the_edges():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 300))
    for start, end in ((0.5, 1.0), (0.503, 20.117), (times[3], times[9])):
        assert integral(times, 2 + 3 * times, start, end) == pytest.approx(
            2 * (end - start) + 1.5 * (end**2 - start**2), rel=1e-12
        )


def test_windows_side_by_side_add_up():
    chance = np.random.default_rng(1)
    times, watts = np.sort(chance.uniform(0, 10, 400)), chance.uniform(1, 9, 400)
    cuts = [0.7, 1.23, 4.9, 8.88]
    parts = sum(integral(times, watts, a, b) for a, b in itertools.pairwise(cuts))
    assert parts == pytest.approx(integral(times, watts, cuts[0], cuts[-1]), rel=0.01)


def test_a_counter_that_wraps_counts_on():
    assert unwrapped(np.array([9.0, 9.5, 0.5, 1.5]), 10.0).tolist() == [0.0, 0.5, 1.5, 2.5]
    times = np.linspace(0, 10, 101)
    assert counted(times, (3 * times + 5) % 7, 1.05, 8.45, 7.0) == pytest.approx(3 * 7.4)


def test_a_window_outside_the_readings_has_no_energy_and_says_so():
    trace, _, _ = clean("constant", 1)
    seen = window_energy(trace, Window(5.0, 20.0))
    assert (seen.joules, seen.watts, [flag.name for flag in seen.flags]) == (None, None, ["outside"])
    assert json.loads(json.dumps(seen.to_json()))["joules"] is None
    with pytest.raises(BadInput, match="no window lies inside the trace"):
        per_inference([seen])


def test_a_sensor_that_reads_nothing_is_flagged_not_believed():
    times = stamps(12.0, 0)
    seen = window_energy(Trace(times, np.zeros(len(times)), interval=STEP), Window(1.0, 11.0))
    assert {"zero", "frozen"} <= {flag.name for flag in seen.flags}


@pytest.mark.parametrize(
    ("period", "quick", "seconds"), [(0.1, False, 10.0), (2.0, False, 200.0), (2.0, True, 2.0)]
)
def test_a_window_lasts_a_hundred_periods(period: float, quick: bool, seconds: float):
    assert least_window(period, quick=quick) == seconds


def test_a_short_window_and_a_quick_one_are_labelled():
    trace, _, _ = clean("constant", 1)
    assert [flag.name for flag in window_energy(trace, Window(1, 6)).flags] == ["short"]
    assert [flag.name for flag in window_energy(trace, Window(1, 6), quick=True).flags] == ["quick"]
    assert [flag.name for flag in window_energy(trace, Window(1, 11), period=0.5).flags] == ["short"]


@pytest.mark.parametrize(
    ("times", "watts", "words"),
    [
        ([0.0], [1.0], "at least two"),
        ([0.0, 0.0], [1.0, 2.0], "must rise"),
        ([0.0, 1.0], [1.0], "each with its time"),
    ],
)
def test_a_trace_that_makes_no_sense_is_refused(times: list[float], watts: list[float], words: str):
    with pytest.raises(BadInput, match=words):
        Trace(np.array(times), np.array(watts))


# --- intervals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rho", "noise"), [(0.0, 0.05), (0.9, 0.02)], ids=["white", "AR(1)"])
def test_the_95_percent_interval_covers_the_truth(rho: float, noise: float):
    gross, net, flagged = coverage(rho, noise, 1200)
    assert 0.93 <= gross <= 0.97
    assert 0.93 <= net <= 0.97
    assert flagged <= 0.05


@pytest.mark.parametrize(("rho", "noise"), [(0.0, 0.05), (0.9, 0.02)], ids=["white", "AR(1)"])
def test_a_difference_of_3_percent_is_found_and_none_is_not(rho: float, noise: float):
    assert told_apart(0.03, rho, noise, 200) >= 0.90
    assert told_apart(0.0, rho, noise, 500) <= 0.05


def test_rounds_that_follow_the_noise_find_3_percent_where_five_rounds_do_not():
    """AR(1) noise of 4 %: a window's mean moves by 1.2 %."""
    assert told_apart(0.03, 0.9, 0.04, 60) < 0.85
    found = sequential(0.03, 0.9, 0.04, 60)
    assert found.found >= 0.95
    assert found.covered >= 0.85  # of 60, at least 93 % of many
    assert 10 <= found.rounds <= 40
    assert sequential(0.03, 0.0, 0.02, 20) == (
        1.0,
        pytest.approx(0.95, abs=0.16),
        5.0,
    )  # quiet: no round more


def some_windows(watts: list[float], *, count: int = COUNT):
    times = stamps(10.5 * len(watts) + 1, 5)
    planned = schedule("A" * len(watts))
    level = np.interp(times, [window.start + 5 for _, window in planned], watts)
    level = level * (1 + 0.002 * np.random.default_rng(0).standard_normal(len(times)))
    return [window_energy(Trace(times, level, interval=STEP), window) for _, window in planned]


def test_a_load_that_warms_up_is_flagged_as_drift():
    rising = per_inference(some_windows([5.0, 5.1, 5.2, 5.3, 5.4]))
    assert [flag.name for flag in rising.flags] == ["drift"]
    assert "+7" in rising.flags[0].what or "+6" in rising.flags[0].what
    assert per_inference(some_windows([5.0] * 5)).flags == ()


def test_idle_windows_that_differ_are_flagged():
    windows = some_windows([5.0] * 4)
    idle = some_windows([2.0, 2.0, 2.0, 2.3])
    assert "idle drift" in {flag.name for flag in per_inference(windows, [idle[0], idle[-1]]).flags}
    assert per_inference(windows, idle[:2]).flags == ()


def test_one_window_has_a_figure_and_no_interval():
    energy = per_inference(some_windows([5.0, 5.0])[:1])
    assert energy.to_json()["gross"]["ci95"] is None
    assert energy.gross.value == pytest.approx(1.0, rel=0.01)
    assert energy.net is None


def test_a_comparison_needs_whole_rounds():
    windows = some_windows([5.0] * 3)
    with pytest.raises(BadInput, match="as many windows"):
        difference(windows, windows[:2])
    assert difference(windows, windows).ratio.value == 1.0
