"""Latency of one runner: every call timed, after a warm-up, on pinned cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.errors import BadInput
from edgekit.profile import clock as clocks
from edgekit.target import Runner


@dataclass(frozen=True)
class Latency:
    """Milliseconds a call: the shortest, the mean, percentiles, over `n` calls of `batch` samples each."""

    min: float
    mean: float
    p50: float
    p90: float
    p99: float
    n: int
    threads: int
    batch: int

    @property
    def throughput(self) -> float:
        """Samples a second: batch / mean, because the mean is what a long stream of calls takes."""
        return 1e3 * self.batch / self.mean

    def to_json(self) -> dict[str, Any]:
        """The report's `latency_ms` field."""
        return asdict(self)


def caller(runner: Runner, feeds: Mapping[str, np.ndarray]) -> Callable[[], object]:
    """A call without arguments that runs `feeds` once; the runner's own `prepare` where it has one."""
    prepare = getattr(runner, "prepare", None)
    return prepare(feeds) if prepare is not None else lambda: runner.run(feeds)


def measure(
    runner: Runner,
    feeds: Mapping[str, np.ndarray],
    *,
    seconds: float = 1.0,
    warmup: float = 0.2,
    least: int = 30,
    threads: int = 1,
    clock: clocks.Clock = clocks.now,
) -> Latency:
    """Time calls for `seconds`, at least `least` of them, after `warmup` seconds that do not count."""
    with clocks.pinned(threads), clocks.no_garbage_collection():
        call = caller(runner, feeds)
        _calls_for(call, warmup, 3, clock)
        times = np.asarray(_calls_for(call, seconds, least, clock), np.float64) / 1e6
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    return Latency(
        min=float(times.min()),
        mean=float(times.mean()),
        p50=p50,
        p90=p90,
        p99=p99,
        n=times.size,
        threads=threads,
        batch=batch_of(feeds),
    )


def batch_of(feeds: Mapping[str, np.ndarray]) -> int:
    """The first dimension of the first input; BadInput where there is nothing to run."""
    for value in feeds.values():
        if value.size == 0:
            raise BadInput("profile: the input is empty. Give at least one sample.")
        return int(value.shape[0]) if value.ndim else 1
    raise BadInput("profile: there is no input to run. Give the model's inputs by name.")


def _calls_for(call: Callable[[], object], seconds: float, least: int, clock: clocks.Clock) -> list[int]:
    times: list[int] = []
    start = clock()
    while len(times) < least or clock() - start < seconds * 1e9:
        times.append(clocks.timed(call, clock=clock))
    return times
