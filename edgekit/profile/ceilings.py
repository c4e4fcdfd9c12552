"""The ceilings of a machine, measured: multiply-adds and bytes a second, and what a node costs by itself."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.profile import clock as clocks
from edgekit.profile.latency import caller
from edgekit.profile.probes import Probe, compute_probes, dispatch_probes, traffic_probes
from edgekit.target import Target, find_target

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
ASSUMED_CACHE = 2**25  # bytes, where the system does not say: more than most boards have
PAST = 4  # times the last-level cache is certainly in memory
VISITS = 4  # to each probe, spread over the measurement: an undisturbed moment is enough
LEAST_CALLS = 2


@dataclass(frozen=True)
class Ceilings:
    """The most that a runtime reached here with `threads` threads, in probes of known work.

    multiply_adds_per_second: by precision. bytes_per_second: over buffers of four times the last-level cache;
    cache_bytes_per_second: over buffers that fit in it. overhead_us: what one more trivially small node
    costs; call_us: what a call costs without its nodes.
    """

    multiply_adds_per_second: Mapping[str, float]
    bytes_per_second: float
    cache_bytes_per_second: float
    last_level_cache_bytes: int
    overhead_us: float
    call_us: float
    threads: int

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


def measure_ceilings(target: str = "cpu", *, threads: int = 1, seconds: float = 1.0) -> Ceilings:
    """Measure them in a second more than `seconds`: the shortest call of each probe, the best of several probes.

    MissingDependency without the package onnx.
    """
    caches = cache_sizes()
    last = max(caches, default=ASSUMED_CACHE)
    inside = [size // 2 for size in sorted(caches)[1:]] or [last // 2]  # the first level is too small to time
    compute, dispatch = compute_probes(), dispatch_probes()
    near = [probe for size in inside for probe in traffic_probes(size)]
    far = traffic_probes(PAST * last)
    everything = [*dispatch, *near, *far, *(probe for probes in compute.values() for probe in probes)]
    best = dict(zip(map(id, everything), _shortest(everything, target, threads, seconds), strict=True))

    short, long = dispatch
    node = max(best[id(long)] - best[id(short)], 0.0) / (long.work - short.work)
    call = max(best[id(short)] - node, 0.0)

    def rate(probes: list[Probe]) -> float:
        """Work a second, without the call and the dispatch of its nodes."""
        spent = {id(probe): best[id(probe)] - call - probe.nodes * node for probe in probes}
        return max(probe.work / max(spent[id(probe)], best[id(probe)] / 2) for probe in probes)

    return Ceilings(
        multiply_adds_per_second={name: rate(probes) for name, probes in compute.items()},
        bytes_per_second=rate(far),
        cache_bytes_per_second=max(rate(near), rate(far)),
        last_level_cache_bytes=last,
        overhead_us=1e6 * node,
        call_us=1e6 * call,
        threads=threads,
    )


def cache_sizes(folder: Path = CACHES) -> list[int]:
    """Bytes of each data cache that the first core has, as Linux lists them; empty where it does not."""
    found = []
    for cache in sorted(folder.glob("index*")):
        try:
            kind, size = ((cache / name).read_text(encoding="ascii").strip() for name in ("type", "size"))
        except (OSError, UnicodeDecodeError):
            continue
        amount = re.fullmatch(r"(\d+)([KMG]?)", size)
        if amount and kind != "Instruction":
            found.append(int(amount[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[amount[2]])
    return found


def _shortest(probes: list[Probe], target: str, threads: int, seconds: float) -> list[float]:
    """The shortest call of each probe in seconds; they take turns, so that a disturbance hits all of them."""
    best = [float("inf")] * len(probes)
    with clocks.pinned(threads), clocks.no_garbage_collection():
        found = find_target(target)
        calls = [_call(probe, found, threads) for probe in probes]
        for _ in range(VISITS):
            for index, call in enumerate(calls):
                best[index] = min(best[index], _visit(call, seconds / VISITS / len(calls)))
    return best


def _call(probe: Probe, target: Target, threads: int) -> Callable[[], object]:
    with tempfile.TemporaryDirectory(prefix="edgekit-probe-") as folder:
        path = Path(folder) / "probe.onnx"
        path.write_bytes(probe.model.SerializeToString())
        return caller(target.runner(path, threads=threads), probe.feeds)


def _visit(call: Callable[[], object], seconds: float) -> float:
    call()
    start, times = clocks.now(), list[int]()
    while len(times) < LEAST_CALLS or clocks.now() - start < 1e9 * seconds:
        times.append(clocks.timed(call))
    return max(min(times), 1) / 1e9
