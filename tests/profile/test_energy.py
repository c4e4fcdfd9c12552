"""Energy of windows against measured traces with published results, and against waveforms whose integral is known."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.profile.energy import difference, per_inference, window_energy
from edgekit.profile.sampler import deadlines
from edgekit.profile.trace import Trace, Window, counted, integral, least_window, unwrapped
from tests.paths import SHARED

STEP = 0.05  # seconds between readings
LENGTH = 10.0
MEAN = 5.0  # watts
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

Wave = Callable[[np.ndarray], np.ndarray]


def constant(_: np.random.Generator) -> Wave:
    return lambda t: np.full_like(t, MEAN)


def ramp(chance: np.random.Generator) -> Wave:
    slope = chance.uniform(-0.8, 0.8) * MEAN / LENGTH
    return lambda t: MEAN + slope * (t - 6.0)


def square(chance: np.random.Generator, hertz: tuple[float, float] = (0.1, 0.25)) -> Wave:
    rate, phase, swing = chance.uniform(*hertz), chance.random(), chance.uniform(0.1, 0.4) * MEAN
    return lambda t: MEAN + np.where((t * rate + phase) % 1 < 0.5, swing, -swing)


def stamps(seconds: float, seed: int, *, even: bool = False, start: float = 0.0) -> np.ndarray:
    """When a sampler reads in `seconds`."""
    if even:
        return start + np.arange(0, seconds, STEP)
    return start + np.array(list(itertools.islice(deadlines(STEP, seed), round(seconds / STEP))))


def red(chance: np.random.Generator, shape: tuple[int, ...], rho: float) -> np.ndarray:
    """AR(1) noise of unit variance along the last axis."""
    drawn = chance.standard_normal(shape)
    for index in range(1, shape[-1]):
        drawn[..., index] = rho * drawn[..., index - 1] + math.sqrt(1 - rho**2) * drawn[..., index]
    return drawn


def true_energy(wave: Wave, window: Window) -> float:
    fine = np.linspace(window.start, window.end, 40_001)
    middle = 0.5 * (fine[1:] + fine[:-1])
    return float(np.mean(wave(middle)) * window.seconds)


def clean(name: str, seed: int) -> tuple[Trace, Window, float]:
    """A sound trace of 12 s with a window of 10 s inside it, and the window's true joules."""
    chance = np.random.default_rng((seed, *name.encode()))
    times = stamps(12.0, seed, even=seed % 2 == 0)
    begin = chance.uniform(0.6, 1.4)
    window = Window(begin, begin + LENGTH)
    wave = {"ramp": ramp, "square": square}.get(name, constant)(chance)
    truth = true_energy(wave, window)
    watts = wave(times)
    if name == "counter":
        return counter(times, watts), window, truth
    noise = {"white": 0.02, "red": 0.02, "coarse": 0.02}.get(name, 0.005) * MEAN
    watts = watts + noise * red(chance, times.shape, 0.9 if name == "red" else 0.0)
    if name == "coarse":
        watts = 0.04 * np.round(watts / 0.04)  # one count of an INA3221 at 5 V with a 5 milliohm shunt
    return Trace(times, watts, interval=STEP), window, truth


def counter(times: np.ndarray, watts: np.ndarray, wrap: float = 20.0, *, known: bool = True) -> Trace:
    """An energy counter that starts again every 20 J, in steps of 61 microjoules."""
    joules = 13.0 + np.concatenate(([0.0], np.cumsum(0.5 * (watts[1:] + watts[:-1]) * np.diff(times))))
    return Trace(
        times, joules=np.floor(joules / 61e-6) * 61e-6 % wrap, interval=STEP, wrap=wrap if known else None
    )


def faulty(name: str, seed: int) -> tuple[Trace, Window]:
    """A trace with one fault inside its window."""
    trace, window, _ = clean(("constant", "ramp", "white", "red")[seed % 4], seed)
    chance = np.random.default_rng((seed, *name.encode()))
    times, watts = trace.times, np.array(trace.watts)
    first = chance.integers(40, 120)
    length = chance.integers(20, 80)  # of about 200 readings in the window
    keep = np.ones(len(times), bool)
    if name == "frozen":
        watts[first : first + length] = watts[first]
    elif name == "frozen throughout":
        watts[:] = watts[0]
    elif name == "gap":
        keep[first : first + length] = False
    elif name == "lost readings":
        keep = chance.random(len(times)) > chance.uniform(0.1, 0.4)
    elif name == "failed readings":
        watts[chance.random(len(times)) < chance.uniform(0.1, 0.4)] = np.nan
    elif name == "ends early":
        keep = times < chance.uniform(4.0, 10.0)
    elif name == "aliased":
        wave = square(chance, (1 / STEP, 1 / STEP))
        times = stamps(12.0, seed)
        watts = wave(times) * (1 + 0.005 * chance.standard_normal(len(times)))
    elif name == "counter stopped":
        stopped = counter(times, np.full(len(times), MEAN))
        joules = np.array(stopped.joules)
        joules[first : first + length] = joules[first]
        return Trace(times, joules=joules, interval=STEP, wrap=20.0), window
    elif name == "wrap unknown":
        return counter(times, np.full(len(times), MEAN), known=False), window
    return Trace(times[keep], watts[keep], interval=STEP), window


CLEAN = ("constant", "ramp", "square", "white", "red", "coarse", "counter")
FAULTY = (
    *("frozen", "frozen throughout", "gap", "lost readings", "failed readings", "ends early"),
    *("aliased", "counter stopped", "wrap unknown"),
)
TRIES = 300


def bias_and_flags(name: str) -> tuple[float, float, float]:
    """Mean relative error, greatest relative error, and the share of flagged traces."""
    errors, flagged = [], 0
    for seed in range(TRIES):
        trace, window, truth = clean(name, seed)
        seen = window_energy(trace, window)
        errors.append((seen.joules or 0.0) / truth - 1)
        flagged += bool(seen.flags)
    return float(np.mean(errors)), float(np.max(np.abs(errors))), flagged / TRIES


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_trace_has_under_1_percent_bias_and_hardly_a_flag(name: str):
    bias, worst, flagged = bias_and_flags(name)
    assert abs(bias) < 0.002
    assert worst < (0.03 if name == "red" else 0.015)  # AR(1) noise of 2 % moves a mean of 200 by 0.6 %
    assert flagged <= 0.05


def caught(name: str) -> float:
    """The share of faulty traces with a flag."""
    return sum(bool(window_energy(*faulty(name, seed)).flags) for seed in range(TRIES)) / TRIES


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_trace_is_flagged(name: str):
    assert caught(name) >= 0.95


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("frozen", "frozen"),
        ("gap", "gap"),
        ("lost readings", "gap"),
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

IDLE = 2.0  # watts
COUNT = 50  # inferences a window
ROUNDS = 5


def schedule(kinds: str) -> list[tuple[str, Window]]:
    """Windows of 10 s one after the other with 0.5 s between, a letter each: A, B, or i for idle."""
    starts = (0.5 + 10.5 * index for index in range(len(kinds)))
    return [
        (kind, Window(start, start + LENGTH, "idle" if kind == "i" else kind, None if kind == "i" else COUNT))
        for kind, start in zip(kinds, starts, strict=True)
    ]


def experiments(kinds: str, watts: dict[str, float], *, rho: float, noise: float, count: int, seed: int):
    """Experiments of the windows `kinds` with AR(1) noise: lists of WindowEnergy by letter."""
    planned = schedule(kinds)
    chance = np.random.default_rng(seed)
    seconds = planned[-1][1].end + 0.5
    bases = [stamps(seconds, base) for base in range(8)]
    levels = []
    for times in bases:
        level = np.full(len(times), IDLE)
        for kind, window in planned:
            # the load begins a little before its window and ends a little after it
            level[(times > window.start - 0.25) & (times < window.end + 0.25)] = watts[kind]
        levels.append(level)
    for index in range(0, count, 250):
        drawn = noise * red(chance, (min(250, count - index), len(bases[0])), rho)
        for row, noises in enumerate(drawn):
            times, level = bases[row % 8], levels[row % 8]
            trace = Trace(times, level * (1 + noises), interval=STEP)
            seen: dict[str, list] = {}
            for kind, window in planned:
                seen.setdefault(kind, []).append(window_energy(trace, window))
            yield seen


def coverage(rho: float, noise: float, count: int) -> tuple[float, float, float]:
    """How often the 95 % intervals of gross and net joules per inference hold the truth, and the share flagged."""
    gross = net = flagged = 0
    for seen in experiments("iAiAiAiAiAi", {"A": MEAN, "i": IDLE}, rho=rho, noise=noise, count=count, seed=3):
        energy = per_inference(seen["A"], seen["i"])
        assert energy.net is not None
        gross += energy.gross.low <= MEAN * LENGTH / COUNT <= energy.gross.high
        net += energy.net.low <= (MEAN - IDLE) * LENGTH / COUNT <= energy.net.high
        flagged += bool(energy.flags)
    return gross / count, net / count, flagged / count


@pytest.mark.parametrize(("rho", "noise"), [(0.0, 0.05), (0.9, 0.02)], ids=["white", "AR(1)"])
def test_the_95_percent_interval_covers_the_truth(rho: float, noise: float):
    gross, net, flagged = coverage(rho, noise, 5000)
    assert 0.93 <= gross <= 0.97
    assert 0.93 <= net <= 0.97
    assert flagged <= 0.05


def told_apart(change: float, rho: float, noise: float, count: int) -> float:
    """How often two models whose power differs by `change` are said to differ."""
    watts = {"A": MEAN, "B": MEAN * (1 + change)}
    found = 0
    for seen in experiments("ABBAABBAAB", watts, rho=rho, noise=noise, count=count, seed=4):
        found += difference(seen["A"], seen["B"]).differs
    return found / count


@pytest.mark.parametrize(("rho", "noise"), [(0.0, 0.05), (0.9, 0.02)], ids=["white", "AR(1)"])
def test_a_difference_of_3_percent_is_found_and_none_is_not(rho: float, noise: float):
    assert told_apart(0.03, rho, noise, 500) >= 0.90
    assert told_apart(0.0, rho, noise, 1500) <= 0.05


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
