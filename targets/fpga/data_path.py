"""What of a QONNX graph depends on an input, and with how many bits a tensor is on a grid."""

from __future__ import annotations

import numpy as np

from targets.cpu.nodes import Graph, Node
from targets.fpga.standard_ops import QUANTIZERS

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
AFFINE = frozenset({"Add", "BatchNormalization", "Div", "Mul", "Sub"})
AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
# what hands on values as they are
MOVING = frozenset(
    {"Dropout", "Flatten", "Identity", "MaxPool", "Pad", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)


def is_data(graph: Graph, tensor: str) -> bool:
    """Whether a tensor depends on an input's values; weights, constants and shapes do not."""
    maker = graph.maker(tensor)
    if maker is None:
        return tensor in graph.inputs
    return maker.operator not in ("Constant", "Shape") and on_data(graph, maker)


def on_data(graph: Graph, node: Node) -> bool:
    """Whether a node reads what depends on an input."""
    return any(is_data(graph, name) for name in node.inputs)


def data_inputs(graph: Graph, node: Node) -> int:
    """How many of a node's inputs depend on the network's input."""
    return sum(is_data(graph, name) for name in node.inputs)


def source(graph: Graph, tensor: str) -> Node | None:
    """The node that computed a tensor, past those that only move values; None for an input or a constant."""
    maker = graph.maker(tensor)
    if maker is not None and maker.operator in MOVING:
        return source(graph, maker.inputs[0])
    return maker


def bits_of(graph: Graph, tensor: str) -> int | None:
    """The bits of a tensor that a quantizer made, moved or pooled since; None for a float one."""
    maker = source(graph, tensor)
    if maker is None or maker.operator not in QUANTIZERS:
        return None
    if maker.operator == "BipolarQuant":
        return 1
    value = graph.value(maker.inputs[-1])
    return None if value is None else int(np.ravel(value)[0])
