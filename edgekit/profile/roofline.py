"""What bounds a layer: arithmetic, memory traffic, or neither (Williams, Waterman and Patterson, 2009).

For each node, with the ceilings of the machine and runtime at hand:

    t_compute = MACs / (MACs a second at its precision)
    t_memory  = weights / B(all weights and activations) + activations / B(those of this node)
    B(n)      = bytes a second from the cache where n bytes fit in it, else from memory
    t_roof    = max(t_compute, t_memory): no run can be quicker
    attained  = t_roof / t, the share of the measured time t that the roof explains

A layer sums these over its n nodes, which run one after the other. With t_node, the time of one more
trivially small node, its bound is the first of these that holds:

    overhead  t <= 10 n t_node and t_roof < max(t / 4, n t_node): mostly dispatch, too small to say more
    kernel    t_roof < t / 4: the kernel uses neither the arithmetic nor the memory well at this shape
    compute   t_compute >= t_memory
    memory    otherwise

Weights are read anew each run; whether a cache still holds them depends on all that a run touches, hence
their own term (the cache-aware roofline of Ilic, Pratas and Sousa, 2014, takes a line for each cache too).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from edgekit.profile.ceilings import Ceilings
from edgekit.profile.executed import ExecutedNode, Execution

COMPUTE, MEMORY, OVERHEAD, KERNEL = "compute", "memory", "overhead", "kernel"
EXPLAINED: Final = 0.25  # of the time, below which arithmetic and traffic explain too little to be the bound
DISPATCHES: Final = 10  # times the dispatch of its nodes, above which a layer's time is its kernels'


@dataclass(frozen=True)
class Roof:
    """The least microseconds that some nodes' arithmetic, traffic and both together (node by node) take."""

    compute_us: float
    memory_us: float
    roof_us: float
    nodes: int


def bound(roof: Roof, microseconds: float, overhead_us: float) -> str:
    """One of the four words, by the rule above."""
    dispatch = roof.nodes * overhead_us
    if microseconds <= DISPATCHES * dispatch and roof.roof_us < max(EXPLAINED * microseconds, dispatch):
        return OVERHEAD
    if roof.roof_us < EXPLAINED * microseconds:
        return KERNEL
    return COMPUTE if roof.compute_us >= roof.memory_us else MEMORY


def roof_of(node: ExecutedNode, execution: Execution, ceilings: Ceilings) -> Roof:
    """One node's; a precision without a ceiling of its own has float32's."""
    peaks = ceilings.multiply_adds_per_second
    compute = node.macs / peaks.get(node.precision, peaks["float32"])
    moved = execution.activation_bytes(node)
    memory = node.weight_bytes / _bandwidth(touched(execution), ceilings) + moved / _bandwidth(
        moved, ceilings
    )
    return Roof(1e6 * compute, 1e6 * memory, 1e6 * max(compute, memory), 1)


def together(roofs: Sequence[Roof]) -> Roof:
    """Several nodes, one after the other."""
    return Roof(
        compute_us=sum(roof.compute_us for roof in roofs),
        memory_us=sum(roof.memory_us for roof in roofs),
        roof_us=sum(roof.roof_us for roof in roofs),
        nodes=sum(roof.nodes for roof in roofs),
    )


def touched(execution: Execution) -> int:
    """The bytes that a run goes through: all weights and the largest activations of one node."""
    return sum(node.weight_bytes for node in execution.nodes) + _largest(
        execution.activation_bytes(node) for node in execution.nodes
    )


def _largest(sizes: Iterable[int]) -> int:
    return max(sizes, default=0)


def _bandwidth(size: int, ceilings: Ceilings) -> float:
    if size <= ceilings.last_level_cache_bytes:
        return ceilings.cache_bytes_per_second
    return ceilings.bytes_per_second
