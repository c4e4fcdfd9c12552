"""Windows of idling and of inferences, one after another, so that a sensor or a bench meter sees both.

An idle window comes first and last; between them every round runs each load once, in a fresh random order.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit.profile.clock import no_garbage_collection
from edgekit.profile.trace import Window, least_window

Call = Callable[[], object]
Say = Callable[[str], None]
More = Callable[[Sequence[Window]], int]
ROUNDS: Final = 5
IDLE: Final = "idle"
SYNC: Final = "sync"
BURSTS: Final = 3
BURST: Final = 1.0  # seconds on, then as long off
WARMUP: Final = 0.5  # seconds of calls for each load beforehand
SLICE: Final = 0.01  # seconds between two looks at the clock
SETTLE: Final = 0.2  # seconds at least that power is given to settle before a window


@dataclass(frozen=True)
class EnergyPlan:
    """What is asked of a measurement of energy: rounds of windows, short ones where quick, by which sensor.

    sensor: a name or kind, None for the one that covers most; root: the tree that sensors are read from.
    within: go on until ratios (of one file its energy) are known to so much, such as 0.01 for 1 %.
    """

    windows: int = ROUNDS
    quick: bool = False
    sensor: str | None = None
    root: Path = Path("/")
    within: float | None = None

    def seconds(self, period: float) -> float:
        """How long a window lasts, for a sensor with news every `period` seconds."""
        return least_window(period, quick=self.quick)


@dataclass(frozen=True)
class WindowRun:
    """The windows that ended, in seconds of the monotonic clock, and why there are not more ("": all ended)."""

    windows: tuple[Window, ...]
    stopped: str = ""


@dataclass(frozen=True)
class _Load:
    name: str
    call: Call
    slice: int  # calls between two looks at the clock


def run_windows(
    loads: Mapping[str, Call],
    *,
    seconds: float,
    rounds: int = ROUNDS,
    batch: int = 1,
    period: float = 0.0,
    sync: bool = False,
    more: More | None = None,
    seed: int = 0,
    say: Say | None = None,
) -> WindowRun:
    """Warm up, idle for `seconds`, run each load for `seconds` in each of `rounds`, idle again.

    A call is `batch` inferences. Before a window its load runs (or the machine rests) for two sensor periods,
    so that what the sensor still shows of the window before is over. `sync` begins with three bursts of the
    first load, by which a meter's trace is laid onto the windows. `more` says of the windows so far how many rounds
    are to follow. Ctrl-C keeps the windows that ended.
    """
    settle = min(max(SETTLE, 2 * period), 2.0)
    total = 2 + rounds * len(loads) + (BURSTS if sync else 0)
    done: list[Window] = []
    try:
        with no_garbage_collection():
            ready = [_warm(name, call) for name, call in loads.items()]
            follow = (lambda: more(done)) if more else (lambda: 0)
            for window in _windows(ready, seconds, rounds, settle, sync, random.Random(seed), follow):
                done.append(_counted(window, batch))
                if say:
                    say(
                        f"window {len(done)}{'' if more else f' of {total}'}: {window.label}, {window.seconds:.1f} s"
                    )
    except KeyboardInterrupt:
        return WindowRun(
            tuple(done), f"stopped by Ctrl-C after {len(done)}{'' if more else f' of {total}'} windows"
        )
    return WindowRun(tuple(done))


def seconds_needed(loads: int, *, seconds: float, rounds: int, period: float = 0.0) -> float:
    """How long `run_windows` takes, about."""
    return (2 + rounds * loads) * (seconds + min(max(SETTLE, 2 * period), 2.0)) + loads * WARMUP


def _windows(
    loads: list[_Load],
    seconds: float,
    rounds: int,
    settle: float,
    sync: bool,
    chance: random.Random,
    follow: Callable[[], int],
) -> Iterator[Window]:
    if sync:
        time.sleep(BURST)
        yield from _bursts(loads[0])
    yield _rest(seconds, settle)
    order = list(loads)
    while rounds:
        for _ in range(rounds):
            chance.shuffle(order)
            for load in order:
                _run(load, settle)
                yield _run(load, seconds)
        rounds = follow()
    yield _rest(seconds, settle)


def _bursts(load: _Load) -> Iterator[Window]:
    for _ in range(BURSTS):
        ran = _run(load, BURST)
        yield Window(ran.start, ran.end, SYNC, ran.inferences)
        time.sleep(BURST)


def _rest(seconds: float, settle: float) -> Window:
    time.sleep(settle)
    start = time.monotonic()
    time.sleep(seconds)
    return Window(start, time.monotonic(), IDLE)


def _run(load: _Load, seconds: float) -> Window:
    """Call until `seconds` have passed; the window's inferences are calls."""
    count, start = 0, time.monotonic()
    end = start
    while end - start < seconds:
        for _ in range(load.slice):
            load.call()
        count, end = count + load.slice, time.monotonic()
    return Window(start, end, load.name, count)


def _counted(window: Window, batch: int) -> Window:
    count = None if window.inferences is None else window.inferences * batch
    return Window(window.start, window.end, window.label, count)


def _warm(name: str, call: Call) -> _Load:
    """Call for a while; of the shortest call, as many as fill a slice."""
    start, best = time.monotonic(), float("inf")
    while time.monotonic() - start < WARMUP or best == float("inf"):
        begun = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begun)
    return _Load(name, call, max(1, int(SLICE / max(best, 1e-9))))
