"""A sensor read in a thread of its own, at jittered times, with what the reading costs."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol

import numpy as np

from edgekit.errors import BadInput, EdgekitError
from edgekit.profile.trace import Trace

FLOOR: Final = 0.05  # seconds; faster reading costs more than it tells
COUNTER_FLOOR: Final = 0.1  # a counter loses nothing between two readings


class Sensed(Protocol):
    """What a sensor answers: when (monotonic nanoseconds), watts or a counter in joules."""

    @property
    def time_ns(self) -> int: ...
    @property
    def watts(self) -> float | None: ...
    @property
    def joules(self) -> float | None: ...


class Sensor(Protocol):
    """What can be sampled."""

    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> Any: ...
    @property
    def period(self) -> float: ...
    @property
    def wrap(self) -> float | None: ...
    def read(self) -> Sensed: ...


@dataclass(frozen=True)
class Cost:
    """What sampling took: seconds of this thread's processor time, of the clock, readings, and failures."""

    cpu_seconds: float
    seconds: float
    readings: int
    failures: int
    failure: str  # the last one's line, "" without

    @property
    def share(self) -> float:
        """Of one core."""
        return self.cpu_seconds / self.seconds if self.seconds else 0.0


def deadlines(interval: float, seed: int) -> Iterator[float]:
    """Seconds after the start: one a slot of `interval`, anywhere in it.

    Evenly spaced readings of a load that repeats at their rate all see the same phase; these do not.
    """
    chance, slot = random.Random(seed), 0
    while True:
        yield (slot + chance.random()) * interval
        slot += 1


class Sampler:
    """Reads a sensor from `start` to `stop`, or inside a `with` block; `trace` has what it saw.

    interval: seconds between readings (default: the sensor's period, at least 50 ms, for counters 100 ms).
    A reading that fails is kept as NaN.
    """

    def __init__(self, sensor: Sensor, *, interval: float | None = None, seed: int = 0) -> None:
        self.sensor = sensor
        self.counts = sensor.read().joules is not None
        self.interval = interval or max(sensor.period, COUNTER_FLOOR if self.counts else FLOOR)
        self.seed = seed
        self._times: list[int] = []
        self._values: list[float] = []
        self._failures, self._failure = 0, ""
        self._cpu = self._seconds = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin; ValueError where it runs already."""
        if self._thread is not None:
            raise ValueError("sampler: started twice")
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=f"sampler {self.sensor.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the last reading."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def trace(self) -> Trace:
        """What was read, in seconds of the monotonic clock; BadInput for fewer than two readings."""
        count = min(len(self._times), len(self._values))
        if count < 2:
            raise BadInput(
                f"sampler: {self.sensor.name} gave {count} readings. Measure longer. {self._failure}"
            )
        times = np.asarray(self._times[:count], np.float64) / 1e9
        values = np.asarray(self._values[:count], np.float64)
        rising = np.concatenate(([True], np.diff(times) > 0))
        named: dict[str, Any] = {"joules" if self.counts else "watts": values[rising]}
        return Trace(
            times[rising],
            **named,
            interval=self.interval,
            wrap=self.sensor.wrap,
            sensor=self.sensor.name,
            scope=str(self.sensor.scope),
        )

    @property
    def cost(self) -> Cost:
        """Up to now, or to the end."""
        return Cost(self._cpu, self._seconds, len(self._times), self._failures, self._failure)

    def _run(self) -> None:
        begun, cpu = time.monotonic(), time.thread_time()
        self._read()  # and again at the end, so that a counter knows whole windows
        for due in deadlines(self.interval, self.seed):
            late = time.monotonic() - begun - due
            if late > self.interval:
                continue  # a slot that has passed is a gap, not a burst of readings
            stopped = self._stop.wait(max(-late, 0.0))
            self._read()
            self._cpu, self._seconds = time.thread_time() - cpu, time.monotonic() - begun
            if stopped:
                break

    def _read(self) -> None:
        try:
            reading = self.sensor.read()
        except EdgekitError as error:
            self._failures, self._failure = self._failures + 1, str(error)
            stamp, value = time.monotonic_ns(), float("nan")
        else:
            seen = reading.joules if self.counts else reading.watts
            stamp, value = reading.time_ns, float("nan") if seen is None else seen
        self._times.append(stamp)
        self._values.append(value)
