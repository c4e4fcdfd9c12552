"""Comparing runs on a noisy machine: they take turns, and every round is compared with itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.profile import clock as clocks
from edgekit.profile.statistics import Interval, trimmed_interval

Call = Callable[[], object]


class Ratio(Interval):
    """How many times as long one run takes as another, with its 95 % interval."""

    def __str__(self) -> str:
        return f"{self.value:.2f}x [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Timing:
    """A run's figure in nanoseconds for each round [rounds], and every call [rounds, calls a round]."""

    rounds: np.ndarray
    calls: np.ndarray

    @property
    def typical(self) -> float:
        """The median of the rounds, nanoseconds."""
        return float(np.median(self.rounds))


def interleave(
    runs: Mapping[str, Call],
    *,
    rounds: int = 30,
    seconds: float = 3.0,
    warmup: float = 0.2,
    share: float = 20.0,
    seed: int = 0,
    clock: clocks.Clock = clocks.now,
) -> dict[str, Timing]:
    """Time several runs in turns (A B, B A, ...), in a fresh random order each round.

    A round's figure for a run is the `share` percentile of its calls in that round: what the run takes when
    the machine is not disturbed. Each turn starts with one call that is not counted, because the run before
    it has used the caches. `seconds` is the whole time, shared equally among rounds and runs, with at least
    3 calls a turn; `warmup` is seconds of calls beforehand for each run.
    """
    if rounds < 2:
        raise ValueError("interleave: a comparison needs at least 2 rounds")
    counts = {
        name: _calls_a_turn(_warm(call, warmup, clock), seconds / rounds / len(runs))
        for name, call in runs.items()
    }
    times: dict[str, list[list[int]]] = {name: [] for name in runs}
    order, chance = list(runs), random.Random(seed)
    with clocks.no_garbage_collection():
        for _ in range(rounds):
            chance.shuffle(order)
            for name in order:
                times[name].append(_turn(runs[name], counts[name], clock))
    return {name: _timing(times[name], share) for name in runs}


def ratio(slower: Timing, faster: Timing) -> Ratio:
    """time(slower) / time(faster) over paired rounds: exp of the trimmed mean of log ratios, 95 % interval.

    A ratio above 1 is a speed-up of `faster` over `slower`.
    """
    if len(slower.rounds) != len(faster.rounds):
        raise ValueError("ratio: both timings must come from one interleaved measurement")
    return Ratio(*np.exp(trimmed_interval(np.log(slower.rounds / faster.rounds))).tolist())


def _warm(call: Call, seconds: float, clock: clocks.Clock) -> float:
    """Call for `seconds`, at least 3 times; the shortest call in nanoseconds."""
    start, best, count = clock(), float("inf"), 0
    while count < 3 or clock() - start < seconds * 1e9:
        best = min(best, clocks.timed(call, clock=clock))
        count += 1
    return max(best, 1.0)


def _calls_a_turn(nanoseconds: float, seconds: float) -> int:
    return int(np.clip(seconds * 1e9 / nanoseconds, 3, 10_000))


def _turn(call: Call, count: int, clock: clocks.Clock) -> list[int]:
    call()
    return [clocks.timed(call, clock=clock) for _ in range(count)]


def _timing(times: list[list[int]], share: float) -> Timing:
    calls = np.asarray(times, np.float64)
    return Timing(rounds=np.maximum(np.percentile(calls, share, axis=1), 1.0), calls=calls)
