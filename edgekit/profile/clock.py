"""The clock that timings read, and the cores they run on."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Clock = Callable[[], int]
now: Clock = time.perf_counter_ns


def timed(call: Callable[[], object], *, clock: Clock = now) -> int:
    """How long one call takes, in the clock's unit (nanoseconds)."""
    start = clock()
    call()
    return clock() - start


@contextmanager
def pinned(cores: int = 1) -> Iterator[tuple[int, ...]]:
    """Keep this thread, and threads it starts, on `cores` cores; the old set comes back afterwards.

    The highest-numbered cores allowed are taken, because core 0 serves most interrupts. Threads that exist
    already stay where they are, so load a runner with several threads inside. Yields the cores, or () on a
    system without affinity.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    before = os.sched_getaffinity(0)
    chosen = tuple(sorted(before)[-cores:])
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python's garbage collector from running inside a timing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
