"""What a runtime really ran: the nodes of its own optimized graph, with their times, tensors and work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ExecutedNode:
    """A node of the graph that a runtime made of a file, in the order it ran.

    `reads` and `writes` are activations by name; weights are counted in `weight_bytes`. `macs` are those of
    the source network. `precision` is what it computes in, "float32" or "int8". A `view` (Reshape and the
    like) shares its input's memory and moves nothing; a `selects` node (Gather, Slice, Shape) reads as
    much as it writes. `microseconds` is as the runtime's profiler says it.
    """

    name: str
    operator: str
    layer: str
    microseconds: float
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    macs: int = 0
    weight_bytes: int = 0
    precision: str = "float32"
    view: bool = False
    selects: bool = False


@dataclass(frozen=True)
class Execution:
    """The nodes that ran, the bytes of every activation by name, and the time of a whole run.

    `latency_us` is a run without the profiler, taken in turns with the profiled ones. `arena_bytes` is the
    most that the runtime's own allocator held for activations in its first run (None: it does not say).
    """

    nodes: tuple[ExecutedNode, ...]
    sizes: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    latency_us: float
    arena_bytes: int | None = None

    def activation_bytes(self, node: ExecutedNode) -> int:
        """The bytes of activations that a node reads and writes."""
        if node.view:
            return 0
        written = sum(self.sizes.get(name, 0) for name in node.writes)
        read = sum(self.sizes.get(name, 0) for name in node.reads)
        return written + (min(read, written) if node.selects else read)


@dataclass(frozen=True)
class Corrected:
    """Times without the profiler's own part: microseconds of each node, and what was taken off each."""

    microseconds: tuple[float, ...]
    profiler_us: float = field(default=0.0)


def without_profiler(times: Sequence[float], total: float, *, least: float = 0.0) -> Corrected:
    """Node times that sum to a run's time without the profiler: t_i' = max(t_i - c, min(t_i, least)).

    A profiler adds about the same to every node, and on small ones more than the node itself takes; c >= 0 is
    the amount with sum t_i' = total, all in microseconds. Where the times sum to less than `total`, c = 0;
    where even the floors sum to more, each node has its floor.
    """
    floors = [min(time, least) for time in times]
    if not times or sum(times) <= total:
        return Corrected(tuple(times))
    # between two neighbouring places where a node meets its floor, the sum falls linearly with c
    meets = sorted(time - floor for time, floor in zip(times, floors, strict=True))
    taken, left, excess = 0.0, len(meets), sum(times) - total
    for place in meets:
        step = min((place - taken) * left, excess)
        taken, excess, left = taken + step / left, excess - step, left - 1
        if excess <= 0:
            break
    pairs = zip(times, floors, strict=True)
    return Corrected(tuple(max(time - taken, floor) for time, floor in pairs), taken)
