"""Placement: which tensors of a fused fp32 graph are quantized, by the board's integer operators.

A tensor gets one QuantizeLinear/DequantizeLinear pair, whatever reads it:
- every activation read by an integer operator and every result of one;
- not between a layer and the activation function that the runtime fuses into it (Conv -> Relu -> Q);
- not between a convolution and the residual addition that the runtime fuses into it (`Caps.fuse_addition`): of two
  such convolutions the later one is fused;
- not behind a Gemm or MatMul whose result leaves the integer part, nor between a MatMul and the Add of its bias:
  it gives float by itself;
- operators that only move values (pooling by maximum, reshape, transpose, ...) hand the pair on: their result
  follows their input's scale and is no site of its own; where only their result is read by an integer operator,
  the site is the tensor that they move.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field

import numpy as np
import onnx

from edgekit.export.graph import SITE_KEY, Graph, attribute, layer_of, metadata
from edgekit.quant.site import Site
from edgekit.target import Caps

WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
MOVING = frozenset(
    {"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "DepthToSpace"}
)
FUSED_ACTIVATIONS = frozenset({"Relu", "Clip"})
BINARY = frozenset({"Add", "Mul", "Concat"})


@dataclass
class Placement:
    """Own activation sites by tensor, weight sites by initializer, and the nodes that will run in integers."""

    activations: dict[str, Site] = field(default_factory=dict)
    weights: dict[str, tuple[Site, int]] = field(default_factory=dict)
    integer_nodes: list[str] = field(default_factory=list)
    float_nodes: dict[str, str] = field(default_factory=dict)  # node -> reason


def site_of(node: onnx.NodeProto, port: str = "output") -> Site:
    """The site of a node's output or weight, from the mark its export left."""
    mark = metadata(node, SITE_KEY) or f"{node.name}/{node.op_type.lower()}#0"
    return Site.parse(f"{mark}:{port}")


def place(model: onnx.ModelProto, caps: Caps, *, exclude: tuple[str, ...] = ()) -> Placement:
    """Decide every site of a graph; `exclude` holds globs on layer paths and node names that stay in float."""
    graph, placement = Graph(model), Placement()
    fused = fused_additions(graph) if caps.fuse_addition else {}
    integer: set[str] = set()  # tensors that exist in integers
    for node in graph.nodes:
        reason = _why_float(graph, node, caps, exclude, integer)
        if reason is not None:
            if node.op_type in WEIGHTED | BINARY:
                placement.float_nodes[node.name] = reason
            continue
        placement.integer_nodes.append(node.name)
        for name in _activation_inputs(graph, node):
            if name not in fused:
                integer |= _add_site(graph, placement, name)
        if node.op_type in WEIGHTED:  # a weight that several calls share has the site of the first
            placement.weights.setdefault(node.input[1], (site_of(node, "weight"), weight_axis(node)))
        result = _result(graph, node)
        if result is not None and result in fused:
            integer.add(result)  # no site, but its reader is computed in integers
        elif result is not None:
            integer.add(result)
            if node.op_type not in MOVING:
                _add_site(graph, placement, result)
    return placement


def weight_axis(node: onnx.NodeProto) -> int:
    """The output-channel axis of a Conv, Gemm or MatMul weight."""
    if node.op_type == "Conv":
        return 0
    return 0 if node.op_type == "Gemm" and attribute(node, "transB", 0) else 1


def fused_activation(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The Relu, or Clip from 0 up, that alone reads a node's result and that runtimes fold into its rounding."""
    after = graph.sole_consumer(node.output[0])
    if after is None or after.op_type not in FUSED_ACTIVATIONS or node.op_type not in WEIGHTED | BINARY:
        return None
    if after.op_type == "Relu":
        return after
    low = graph.constant(after.input[1]) if len(after.input) > 1 and after.input[1] else None
    return after if low is not None and float(low) == 0.0 else None


def fused_additions(graph: Graph) -> dict[str, str]:
    """{result of a convolution: name of the Add of two activations that alone reads it}, one of each Add."""
    order = {node.name: index for index, node in enumerate(graph.nodes)}
    found: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type != "Add" or any(name in graph.initializers for name in node.input):
            continue
        makers = [graph.producer.get(name) for name in node.input]
        able = [
            maker
            for maker in makers
            if maker is not None
            and maker.op_type == "Conv"
            and graph.sole_consumer(maker.output[0]) is not None
        ]
        if able:
            found[max(able, key=lambda maker: order[maker.name]).output[0]] = node.name
    return found


def _why_float(
    graph: Graph, node: onnx.NodeProto, caps: Caps, exclude: tuple[str, ...], integer: set[str]
) -> str | None:
    names = (layer_of(node), node.name)
    if any(fnmatch.fnmatchcase(name, glob) for name in names for glob in exclude):
        return "excluded"
    if node.op_type not in caps.operators:
        return f"{node.op_type} has no integer kernel on this board"
    if node.op_type in FUSED_ACTIVATIONS:
        return "part of the layer before it"
    if node.op_type in WEIGHTED:
        weight = graph.constant(node.input[1])
        if weight is None or weight.dtype != np.float32 or (node.op_type != "Conv" and weight.ndim != 2):
            return "its weight is not a constant"
        return None
    inputs = _activation_inputs(graph, node)
    if len(inputs) < (2 if node.op_type in BINARY else 1):
        return "an operand is a constant"
    if not any(name in integer for name in inputs):
        return "its inputs are float"
    if node.op_type in MOVING and (inputs[0] not in integer or node.output[0] in graph.outputs):
        return "it moves float values"
    if node.op_type in ("Softmax", "Sigmoid") and node.output[0] in graph.outputs:
        return "its result leaves the model in float"
    return None


def _activation_inputs(graph: Graph, node: onnx.NodeProto) -> list[str]:
    count = 2 if node.op_type == "MatMul" else len(node.input)
    names = (
        node.input[:1]
        if node.op_type in WEIGHTED | MOVING or node.op_type == "Resize"
        else node.input[:count]
    )
    return [name for name in names if name and name not in graph.initializers]


def _result(graph: Graph, node: onnx.NodeProto) -> str | None:
    after = fused_activation(graph, node)
    result = (after or node).output[0]
    if node.op_type in ("Gemm", "MatMul") and result in graph.outputs and after is None:
        return None
    return None if node.op_type == "MatMul" and _is_biased(graph, node) else result


def _is_biased(graph: Graph, node: onnx.NodeProto) -> bool:
    """A MatMul of more than matrices whose bias is an Add of its own (runtimes merge the two only for matrices)."""
    after = graph.sole_consumer(node.output[0])
    biased = (
        after is not None
        and after.op_type == "Add"
        and any(name in graph.initializers for name in after.input)
    )
    return biased and graph.ranks().get(node.input[0]) != 2


def _add_site(graph: Graph, placement: Placement, name: str) -> set[str]:
    """Give a tensor its site, or hand that of the tensor it was moved from; every tensor that is integer by it."""
    producer = graph.producer.get(name)
    if producer is not None and producer.op_type in MOVING and producer.input[0] not in graph.initializers:
        if producer.name in placement.integer_nodes:
            return {name}
        placement.integer_nodes.append(producer.name)
        return {name} | _add_site(graph, placement, producer.input[0])
    if name not in placement.activations:
        placement.activations[name] = (
            site_of(producer)
            if producer is not None
            else Site("", "input", graph.inputs.index(name), f"input:{name}")
        )
    return {name}
