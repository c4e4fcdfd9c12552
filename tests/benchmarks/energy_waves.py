"""Traces of power whose energy is known: sound ones, faulty ones, and whole experiments under noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from edgekit.profile.energy import WindowEnergy, difference, log_ratios, per_inference, window_energy
from edgekit.profile.rounds import more_rounds
from edgekit.profile.sampler import deadlines
from edgekit.profile.trace import Trace, Window

STEP = 0.05  # seconds between readings
LENGTH = 10.0
MEAN = 5.0  # watts
IDLE = 2.0  # watts
COUNT = 50  # inferences a window
ROUNDS = 5
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


def bias_and_flags(name: str, tries: int, *, seed: int = 0) -> tuple[float, float, float]:
    """Mean relative error, greatest relative error, and the share of flagged traces."""
    errors, flagged = [], 0
    for index in range(tries):
        trace, window, truth = clean(name, seed * tries + index)
        seen = window_energy(trace, window)
        errors.append((seen.joules or 0.0) / truth - 1)
        flagged += bool(seen.flags)
    return float(np.mean(errors)), float(np.max(np.abs(errors))), flagged / tries


def caught(name: str, tries: int, *, seed: int = 0) -> float:
    """The share of faulty traces with a flag."""
    return (
        sum(bool(window_energy(*faulty(name, seed * tries + index)).flags) for index in range(tries)) / tries
    )


def schedule(kinds: str) -> list[tuple[str, Window]]:
    """Windows of 10 s one after the other with 0.5 s between, a letter each: A, B, or i for idle."""
    starts = (0.5 + 10.5 * index for index in range(len(kinds)))
    return [
        (kind, Window(start, start + LENGTH, "idle" if kind == "i" else kind, None if kind == "i" else COUNT))
        for kind, start in zip(kinds, starts, strict=True)
    ]


def experiments(
    kinds: str, watts: dict[str, float], *, rho: float, noise: float, count: int, seed: int
) -> Iterator[dict[str, list[WindowEnergy]]]:
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
            seen: dict[str, list[WindowEnergy]] = {}
            for kind, window in planned:
                seen.setdefault(kind, []).append(window_energy(trace, window))
            yield seen


def coverage(rho: float, noise: float, count: int, *, seed: int = 3) -> tuple[float, float, float]:
    """How often the 95 % intervals of gross and net joules per inference hold the truth, and the share flagged."""
    gross = net = flagged = 0
    for seen in experiments(
        "iAiAiAiAiAi", {"A": MEAN, "i": IDLE}, rho=rho, noise=noise, count=count, seed=seed
    ):
        energy = per_inference(seen["A"], seen["i"])
        assert energy.net is not None
        gross += energy.gross.low <= MEAN * LENGTH / COUNT <= energy.gross.high
        net += energy.net.low <= (MEAN - IDLE) * LENGTH / COUNT <= energy.net.high
        flagged += bool(energy.flags)
    return gross / count, net / count, flagged / count


def told_apart(change: float, rho: float, noise: float, count: int, *, seed: int = 4) -> float:
    """How often two models whose power differs by `change` are said to differ after five rounds."""
    watts = {"A": MEAN, "B": MEAN * (1 + change)}
    found = 0
    for seen in experiments("ABBAABBAAB", watts, rho=rho, noise=noise, count=count, seed=seed):
        found += difference(seen["A"], seen["B"]).differs
    return found / count


class Sequential(NamedTuple):
    """Of experiments of as many rounds as their noise asks for: the share said to differ, the share whose 95 %
    interval holds the true ratio, and the mean number of rounds.
    """

    found: float
    covered: float
    rounds: float


def sequential(
    change: float,
    rho: float,
    noise: float,
    count: int,
    *,
    wanted: float = 0.01,
    most: int = 40,
    seed: int = 5,
) -> Sequential:
    """Two models whose power differs by `change`, in rounds AB, BA, AB ... until `more_rounds` asks for no more."""
    found = covered = rounds = 0
    truth = 1 / (1 + change)
    for noises in _noises(rho, noise, count, most, seed):
        a: list[WindowEnergy] = []
        b: list[WindowEnergy] = []
        more = more_rounds(np.empty(0), wanted=wanted, most=most)
        while more:
            for index in range(len(a), len(a) + more):
                first, second = _round(noises[index], change, swapped=index % 2 == 1)
                a.append(first)
                b.append(second)
            more = more_rounds(log_ratios(a, b), wanted=wanted, most=most)
        seen = difference(a, b)
        found += seen.differs
        covered += seen.ratio.low <= truth <= seen.ratio.high
        rounds += len(a)
    return Sequential(found / count, covered / count, rounds / count)


PAIR = schedule("AB")
PAIR_TIMES = stamps(PAIR[-1][1].end + 0.5, 7)


def _noises(rho: float, noise: float, count: int, most: int, seed: int) -> Iterator[np.ndarray]:
    """The noise of each experiment [most, readings of a round]."""
    chance = np.random.default_rng(seed)
    for index in range(0, count, 50):
        few = min(50, count - index)
        drawn = noise * red(chance, (few * most, len(PAIR_TIMES)), rho)
        yield from drawn.reshape(few, most, -1)


def _round(noises: np.ndarray, change: float, *, swapped: bool) -> tuple[WindowEnergy, WindowEnergy]:
    """The windows of A and of B, in that order whichever ran first."""
    middle = (PAIR[0][1].end + PAIR[1][1].start) / 2
    level = np.where((middle > PAIR_TIMES) ^ swapped, MEAN, MEAN * (1 + change))
    trace = Trace(PAIR_TIMES, level * (1 + noises), interval=STEP)
    first, second = (window_energy(trace, window) for _, window in PAIR)
    return (second, first) if swapped else (first, second)
