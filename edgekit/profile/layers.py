"""The profile of an artefact by layer: time, work, what bounds it, and the activations alive as it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.profile.ceilings import Ceilings, measure_ceilings
from edgekit.profile.executed import Corrected, ExecutedNode, Execution, without_profiler
from edgekit.profile.memory_timeline import Moment, memory_timeline, peak
from edgekit.profile.roofline import Roof, bound, roof_of, together
from edgekit.target import find_target

ELSEWHERE = "layers are timed where the runtime runs; this target's is not on this machine"
BY_TIME = "by time: no sensor tells one layer from the next, so a layer's share is its share of the time"
NO_ARENA = "this version of the runtime does not say what its allocator holds"


@dataclass(frozen=True)
class Layer:
    """A layer of the source network, or a node that the runtime put in by itself.

    `share` is of all layers' time, and `energy_share` the same, by time. `bytes` are weights and activations,
    read and written, `intensity` MACs a byte (None where nothing is moved), `bound` and `attained` as
    `edgekit.profile.roofline` defines them.
    """

    layer: str
    operators: str
    precision: str
    microseconds: float
    share: float
    macs: int
    bytes: int
    intensity: float | None
    bound: str
    attained: float
    energy_share: float


@dataclass(frozen=True)
class LayerReport:
    """Layers, slowest first, the ceilings they are held against, and the memory timeline; or why there are none.

    `latency_us` is a run without the profiler; the layers' times sum to it, less `ceilings.call_us`.
    `profiler_us` is what was taken off each node for the profiler. `runtime_peak_bytes` is the peak of the
    runtime's own allocator, inputs apart, and `weight_bytes` what the initializers take.
    """

    ceilings: Ceilings | None = None
    layers: tuple[Layer, ...] = ()
    memory: tuple[Moment, ...] = ()
    latency_us: float | None = None
    profiler_us: float | None = None
    weight_bytes: int | None = None
    runtime_peak_bytes: int | None = None
    not_measured: Mapping[str, str] = field(default_factory=dict)

    @property
    def peak_activation_bytes(self) -> int | None:
        """The most activation bytes alive at once, inputs and outputs included."""
        most = peak(self.memory)
        return most.live_bytes if most else None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types; what was not measured is null, with its reason in `not_measured`."""
        most = peak(self.memory)
        return {
            "ceilings": self.ceilings.to_json() if self.ceilings else None,
            "layers": [asdict(layer) for layer in self.layers],
            "memory": [moment.to_json() for moment in self.memory],
            "peak_activation_bytes": self.peak_activation_bytes,
            "peak_node": most.node if most else None,
            "runtime_peak_bytes": self.runtime_peak_bytes,
            "weight_bytes": self.weight_bytes,
            "latency_us": self.latency_us,
            "profiler_us": self.profiler_us,
            "energy_basis": BY_TIME,
            "not_measured": dict(self.not_measured),
        }


def layer_report(
    path: Path,
    feeds: Mapping[str, np.ndarray],
    *,
    target: str = "cpu",
    threads: int = 1,
    seconds: float = 2.0,
    ceilings: Ceilings | None = None,
) -> LayerReport:
    """Measure a file's layers and, where they are not given, the machine's ceilings, half of `seconds` each.

    A target whose runtime is not on this machine gives an empty report with the reason. BadInput where the
    file or the input does not fit.
    """
    execute = getattr(find_target(target), "execution", None)
    if execute is None:
        return _nothing(f"{target}: {ELSEWHERE}")
    execution: Execution = execute(Path(path), feeds, threads=threads, seconds=seconds / 2)
    ceilings = ceilings or measure_ceilings(target, threads=threads, seconds=seconds / 2)
    return report_of(execution, ceilings)


def report_of(execution: Execution, ceilings: Ceilings) -> LayerReport:
    """The report of an execution under ceilings; measures nothing."""
    times = corrected(execution, ceilings)
    return LayerReport(
        ceilings=ceilings,
        layers=tuple(layers_of(execution, times.microseconds, ceilings)),
        memory=tuple(memory_timeline(execution)),
        latency_us=execution.latency_us,
        profiler_us=times.profiler_us,
        weight_bytes=sum(node.weight_bytes for node in execution.nodes),
        runtime_peak_bytes=execution.arena_bytes,
        not_measured={} if execution.arena_bytes is not None else {"runtime_peak_bytes": NO_ARENA},
    )


def corrected(execution: Execution, ceilings: Ceilings) -> Corrected:
    """Node times without the profiler: they sum to the latency less the cost of a call, none below a small node's."""
    return without_profiler(
        [node.microseconds for node in execution.nodes],
        max(execution.latency_us - ceilings.call_us, 0.0),
        least=ceilings.overhead_us,
    )


def layers_of(execution: Execution, times: Sequence[float], ceilings: Ceilings) -> list[Layer]:
    """One row a layer, slowest first; `times` are microseconds of each node."""
    groups: dict[str, list[int]] = {}
    for index, node in enumerate(execution.nodes):
        groups.setdefault(node.layer, []).append(index)
    total = sum(times) or 1.0
    rows = [
        _layer(
            [execution.nodes[index] for index in indices],
            together([roof_of(execution.nodes[index], execution, ceilings) for index in indices]),
            sum(times[index] for index in indices),
            total,
            execution,
            ceilings,
        )
        for indices in groups.values()
    ]
    return sorted(rows, key=lambda row: -row.microseconds)


def _layer(
    nodes: Sequence[ExecutedNode],
    roof: Roof,
    microseconds: float,
    total: float,
    execution: Execution,
    ceilings: Ceilings,
) -> Layer:
    macs = sum(node.macs for node in nodes)
    moved = sum(node.weight_bytes + execution.activation_bytes(node) for node in nodes)
    share = microseconds / total
    return Layer(
        layer=nodes[0].layer,
        operators="+".join(dict.fromkeys(node.operator for node in nodes)),
        precision=max(nodes, key=lambda node: node.macs).precision,
        microseconds=microseconds,
        share=share,
        macs=macs,
        bytes=moved,
        intensity=macs / moved if moved else None,
        bound=bound(roof, microseconds, ceilings.overhead_us),
        attained=roof.roof_us / microseconds if microseconds else 0.0,
        energy_share=share,
    )


def _nothing(reason: str) -> LayerReport:
    empty = LayerReport().to_json()
    return LayerReport(not_measured={name: reason for name, value in empty.items() if value in (None, [])})
