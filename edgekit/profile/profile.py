"""The profile of an artefact: latency, throughput, load time, memory, and what was not measured and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import BadInput
from edgekit.profile import clock as clocks
from edgekit.profile.fresh import fresh
from edgekit.profile.latency import Latency, measure
from edgekit.profile.operators import OperatorTime
from edgekit.target import Finding, find_target

NO_ENERGY = "not asked for: --energy"


@dataclass(frozen=True)
class Profile:
    """What was measured of one artefact; a field that was not is None, with its reason in `not_measured`.

    `peak_memory_bytes` is resident memory that loading and one run add in a fresh process, over what Python
    and the runtime's library take by themselves. `throughput` is samples a second. `energy` is joules per
    inference.
    """

    latency: Latency | None = None
    throughput: float | None = None
    load_seconds: float | None = None
    peak_memory_bytes: int | None = None
    energy: dict[str, Any] | None = None
    operators: tuple[OperatorTime, ...] = ()
    findings: tuple[Finding, ...] = ()
    not_measured: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The measured part of a report's M fields."""
        return {
            "latency_ms": self.latency.to_json() if self.latency else None,
            "throughput": self.throughput,
            "peak_memory_bytes": self.peak_memory_bytes,
            "energy": self.energy,
            "not_measured": dict(self.not_measured),
        }


def profile(
    path: Path,
    feeds: Mapping[str, np.ndarray],
    *,
    target: str = "cpu",
    threads: int = 1,
    seconds: float = 1.0,
    warmup: float = 0.2,
    operators: bool = True,
    guard: bool = True,
) -> Profile:
    """Measure an artefact on this machine with `feeds` (one batch by input name).

    Latency is timed on pinned cores after a warm-up; load time and memory come from a fresh process. BadInput
    where the file or the input does not fit.
    """
    path, found = Path(path), find_target(target)
    with clocks.pinned(threads):  # a runner's threads keep the cores that they were started on
        runner = found.runner(path, threads=threads)
        latency = measure(runner, feeds, seconds=seconds, warmup=warmup, threads=threads)
    reasons = {"energy": NO_ENERGY}
    peak, load = _in_fresh_process(path, feeds, target, threads, reasons)
    per_operator = getattr(runner, "operator_times", None)
    checks = getattr(found, "guard", None)
    return Profile(
        latency=latency,
        throughput=latency.throughput,
        load_seconds=load,
        peak_memory_bytes=peak,
        operators=tuple(per_operator(feeds)) if operators and per_operator else (),
        findings=tuple(checks(path, feeds)) if guard and checks else (),
        not_measured=reasons,
    )


def _in_fresh_process(
    path: Path, feeds: Mapping[str, np.ndarray], target: str, threads: int, reasons: dict[str, str]
) -> tuple[int | None, float | None]:
    try:
        seen = fresh(path, feeds, target=target, threads=threads)
    except (BadInput, OSError) as error:
        reasons["peak_memory_bytes"] = str(error)
        return None, None
    return seen.peak_memory_bytes, seen.load_seconds
