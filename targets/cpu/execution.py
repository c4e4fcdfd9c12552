"""The nodes that onnxruntime runs of a file: its optimized graph joined with the trace of its profiler."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekit.analysis.graph_cost import VIEWS, node_macs, tensor_shapes
from edgekit.errors import BadInput
from edgekit.profile import clock as clocks
from edgekit.profile.executed import ExecutedNode, Execution
from edgekit.profile.interleave import interleave
from targets.cpu.audit import INTEGER, named_file
from targets.cpu.nodes import Graph, Node, layers_of, read
from targets.cpu.runtime import OrtRunner

SELECTS = frozenset({"Gather", "GatherElements", "GatherND", "Shape", "Size", "Slice"})
# What the profiler calls a type, where numpy calls it something else.
ITEM_BYTES = {"float": 4, "double": 8, "float16": 2, "bfloat16": 2, "bool": 1, "string": 0}
MOST_RUNS = 200  # profiled; the trace takes about 700 bytes a node and run
ROUNDS = 20
QUICK = 4  # one run in so many counts
WARM_UP = 2  # runs that do not
Shape = tuple[int, ...]
Types = Mapping[str, tuple[str, Shape]]  # of a tensor: the profiler's name of its type, and its shape


def execution(
    path: Path, feeds: Mapping[str, np.ndarray], *, threads: int = 1, seconds: float = 2.0
) -> Execution:
    """Run a file with `feeds` for about `seconds`, with and without onnxruntime's profiler in turns.

    A node's time is its mean over the quickest quarter of the profiled runs, as the latency is the mean of the
    quickest quarter of the others: whole runs that nothing disturbed, because the profiler counts whole
    microseconds and a node's own quickest times would all be rounded down. A Loop or an If holds what the
    profiler costs in its body. BadInput where the file or the input does not fit.
    """
    path = Path(path)
    model = read(path)
    with tempfile.TemporaryDirectory(prefix="edgekit-execution-") as folder:
        optimized = Path(folder) / "optimized.onnx"
        with clocks.pinned(threads):
            bare = OrtRunner(path, threads=threads)
            profiled = OrtRunner(
                named_file(path, model, Path(folder)), threads=threads, profile=True, optimized_path=optimized
            )
            latency = _alternate(bare.prepare(feeds), profiled.prepare(feeds), seconds)
        graph = Graph(onnx.load(optimized, load_external_data=False))
        trace = [event for event in profiled._trace() if _is_node(event, graph)]
    times = _node_times(trace)
    types = _types(graph, feeds, trace)
    macs = _macs(model, graph, feeds, types, layers := layers_of(path, times))
    return Execution(
        nodes=tuple(
            _executed(graph, graph.by_name[name], time, macs[name], layers) for name, time in times.items()
        ),
        sizes={name: _bytes(*types[name]) for name in types},
        inputs=tuple(graph.inputs),
        outputs=tuple(graph.outputs),
        latency_us=latency,
        arena_bytes=_arena_bytes(trace),
    )


def _alternate(bare: Callable[[], object], profiled: Callable[[], object], seconds: float) -> float:
    """Microseconds of a bare run, the mean of the quickest quarter."""
    profiled()
    once = clocks.timed(profiled) / 1e9
    rounds = int(np.clip(seconds / (8 * once), 3, ROUNDS))
    timings = interleave(
        {"bare": bare, "profiled": profiled},
        rounds=rounds,
        seconds=min(seconds, 2 * MOST_RUNS * once),
        warmup=min(0.1, 10 * once),
    )
    calls = timings["bare"].calls.ravel()
    return float(calls[_quickest(calls)].mean()) / 1e3


def _quickest(totals: np.ndarray) -> np.ndarray:
    """Which runs are the quickest quarter."""
    return np.argsort(totals)[: max(1, len(totals) // QUICK)]


def _node_times(trace: list[dict[str, Any]]) -> dict[str, float]:
    """Microseconds of each node, in the order they ran."""
    times: dict[str, list[float]] = defaultdict(list)
    for event in trace:
        times[_node_name(event)].append(event["dur"])
    runs = np.array([values[WARM_UP:] for values in times.values()], np.float64)  # [nodes, runs]
    means = runs[:, _quickest(runs.sum(axis=0))].mean(axis=1)
    return dict(zip(times, means.tolist(), strict=True))


def _is_node(event: Mapping[str, Any], graph: Graph) -> bool:
    """Whether an event is a kernel of the top graph; those of a Loop's or If's body are in its own time."""
    return event.get("cat") == "Node" and _node_name(event) in graph.by_name


def _node_name(event: Mapping[str, Any]) -> str:
    return str(event["name"]).removesuffix("_kernel_time")


def _first_run(trace: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return trace[: len({event["name"] for event in trace})]


def _types(graph: Graph, feeds: Mapping[str, np.ndarray], trace: list[dict[str, Any]]) -> Types:
    """The type and shape of each activation as it really was: inputs from `feeds`, the rest from the trace."""
    found: dict[str, tuple[str, Shape]] = {
        name: (str(value.dtype), value.shape) for name, value in feeds.items() if name in graph.inputs
    }
    for event in _first_run(trace):
        names = [name for name in graph.by_name[_node_name(event)].outputs if name]
        for name, shown in zip(names, event["args"].get("output_type_shape", ()), strict=False):
            kind, shape = next(iter(shown.items()))
            found[name] = (kind, tuple(shape))
    return found


def _bytes(kind: str, shape: Shape) -> int:
    return math.prod(shape) * (ITEM_BYTES[kind] if kind in ITEM_BYTES else np.dtype(kind).itemsize)


def _executed(
    graph: Graph, node: Node, microseconds: float, macs: int, layers: Mapping[str, str]
) -> ExecutedNode:
    constants = [graph.initializers[name] for name in node.inputs if name in graph.initializers]
    return ExecutedNode(
        name=node.name,
        operator=node.operator,
        layer=layers.get(node.name) or node.name,
        microseconds=microseconds,
        reads=tuple(dict.fromkeys(n for n in node.inputs if n and n not in graph.initializers)),
        writes=tuple(name for name in node.outputs if name),
        macs=macs,
        weight_bytes=0 if node.operator in VIEWS else sum(_constant_bytes(item) for item in constants),
        precision="int8" if node.operator in INTEGER or node.operator.startswith("QLinear") else "float32",
        view=node.operator in VIEWS,
        selects=node.operator in SELECTS,
    )


def _constant_bytes(tensor: onnx.TensorProto) -> int:
    return math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _macs(
    model: onnx.ModelProto,
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    types: Types,
    layers: Mapping[str, str],
) -> dict[str, int]:
    """MACs of each node that ran: its layer's in the source, shared among the layer's nodes as they ran.

    As it runs, a node may do more: onnxruntime pads channels to the width of a vector.
    """
    shapes: dict[str, Shape] = {name: shape for name, (_, shape) in types.items()}
    shapes |= {name: tuple(tensor.dims) for name, tensor in graph.initializers.items()}
    ran = {node.name: _node_macs(node, shapes) for node in graph.nodes}
    wanted, present = _source_macs(model, feeds), defaultdict[str, int](int)
    for name, macs in ran.items():
        present[layers.get(name, "")] += macs
    return {
        name: round(macs * wanted.get(layer, present[layer]) / present[layer]) if macs else 0
        for name, macs in ran.items()
        for layer in [layers.get(name, "")]
    }


def _source_macs(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
    """MACs of each layer of the file as it was written; empty where its shapes cannot be inferred."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for dimension, size in zip(
            value.type.tensor_type.shape.dim,
            feeds[value.name].shape if value.name in feeds else (),
            strict=False,
        ):
            dimension.dim_value = size
    try:
        shapes = tensor_shapes(fixed)
    except BadInput:
        return {}
    found: dict[str, int] = defaultdict(int)
    for node in Graph(fixed).nodes:
        found[node.layer] += _node_macs(node, shapes)
    return {layer: macs for layer, macs in found.items() if macs}


def _node_macs(node: Node, shapes: Mapping[str, Shape]) -> int:
    proto = onnx.helper.make_node(node.operator, node.inputs, node.outputs)
    proto.attribute.extend(
        onnx.helper.make_attribute(key, node.attributes[key]) for key in ("transA",) if key in node.attributes
    )
    try:
        return node_macs(proto, shapes)
    except KeyError:  # a tensor that is no tensor, or that no run showed
        return 0


def _arena_bytes(trace: list[dict[str, Any]]) -> int | None:
    """The allocator's peak over the first run, less what it held before; older versions do not say."""
    first = _first_run(trace)
    if not first or "mem_in_use_peak" not in first[0]["args"]:
        return None
    start = first[0]["args"]
    before = int(start["mem_bytes_in_use"]) - int(start["mem_in_use_delta"])
    return max(int(event["args"]["mem_in_use_peak"]) for event in first) - before
