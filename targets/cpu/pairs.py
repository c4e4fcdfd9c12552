"""What a graph's Q/DQ pairs say: zero points, signs, scales' axes, and who takes a quantized value."""

from __future__ import annotations

import numpy as np
import onnx

from edgekit.target import Finding
from targets.cpu.nodes import Graph, Node

INT8 = onnx.TensorProto.INT8
LOWEST: dict[int, int] = {int(onnx.TensorProto.INT8): -128, int(onnx.TensorProto.UINT8): 0}
ACTIVATIONS = frozenset({"Relu", "Clip"})
# Input positions that hold activations where it is not all of them.
DATA_INPUTS = {
    "Conv": 1,
    "ConvTranspose": 1,
    "Gemm": 1,
    "BatchNormalization": 1,
    "Resize": 1,
    "Clip": 1,
    "Pad": 1,
}
REQUANTIZE = (
    "Quantize activations as uint8 with int8 weights (onnxruntime's quantize_static: "
    "activation_type=QUInt8, weight_type=QInt8)."
)


def finding(node: Node, what: str, remedy: str, severity: str = "warning") -> Finding:
    """A finding at a node and its layer."""
    return Finding(severity, node.name, node.layer, what, remedy)


def version() -> str:
    """The version of onnxruntime that the audit ran."""
    import onnxruntime

    return str(onnxruntime.__version__)


def data_inputs(node: Node) -> list[str]:
    """The inputs of a node that hold activations."""
    if node.operator == "Where":
        return node.inputs[1:]
    return [name for name in node.inputs[: DATA_INPUTS.get(node.operator, len(node.inputs))] if name]


def only_taker(graph: Graph, node: Node) -> Node | None:
    """The one node that takes what `node` makes, or None where there are several or none."""
    takers = graph.takers(node)
    return takers[0] if len(takers) == 1 else None


def zero_point(graph: Graph, pair: Node) -> tuple[int | None, int | None]:
    """(data type, value) of a pair's zero point; an absent one is uint8 zero."""
    if len(pair.inputs) < 3 or not pair.inputs[2]:
        return onnx.TensorProto.UINT8, 0
    value = graph.value(pair.inputs[2])
    return graph.kind(pair.inputs[2]), None if value is None else int(np.ravel(value)[0])


def is_signed(graph: Graph, pair: Node) -> bool:
    """Whether a Q/DQ node works on int8 activations."""
    return pair.inputs[0] not in graph.initializers and zero_point(graph, pair)[0] == INT8


def consumers_of_value(graph: Graph, pair: Node) -> list[Node]:
    """Everything that takes the quantized tensor, through any of its DequantizeLinear twins."""
    twins = [node for node in graph.consumers.get(pair.inputs[0], []) if node.operator == "DequantizeLinear"]
    return [taker for twin in twins for taker in graph.takers(twin)]


def between_pairs(graph: Graph, node: Node) -> bool:
    """Whether a node takes a dequantized value and its own is quantized at once."""
    maker, taker = graph.maker(node.inputs[0]) if node.inputs else None, only_taker(graph, node)
    return (
        maker is not None
        and taker is not None
        and (maker.operator, taker.operator) == ("DequantizeLinear", "QuantizeLinear")
    )


def quantized_outputs(graph: Graph, node: Node) -> list[str]:
    """The dequantized forms of a node's output, an absorbed activation passed over."""
    takers = graph.takers(node)
    if len(takers) == 1 and takers[0].operator in ACTIVATIONS:
        takers = graph.takers(takers[0])
    return [
        name
        for taker in takers
        if taker.operator == "QuantizeLinear"
        for twin in graph.takers(taker)
        for name in twin.outputs
    ]


def output_axis(node: Node, rank: int) -> int:
    """The axis of a weight along which its output channels lie."""
    if node.operator == "Gemm":
        return 0 if node.attributes.get("transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1}.get(node.operator, rank - 1)
