"""The ONNX forms that TensorRT rejects or misreads, found in anyone's file.

Zero points must be 0, and quantized tensors int8: uint8 with zero point 0 is read as int8, so that values above
127 scales saturate without an error. A bias is float.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from edgekit.export.graph import Graph, attribute, layer_of
from edgekit.export.opset import opset_of
from edgekit.target import Finding

PAIRS = ("QuantizeLinear", "DequantizeLinear")
INTEGER_OPERATORS = frozenset(
    {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "DynamicQuantizeLinear"}
)
QONNX = frozenset({"Quant", "IntQuant", "BipolarQuant", "Trunc"})
SYMMETRIC = "Quantize it for this board: edgekit compress, or edgekit's quantize step with this board named."


def wrong_forms(model: onnx.ModelProto, *, newest_opset: int) -> list[Finding]:
    """Everything in a file that this TensorRT would refuse ("error") or read as something else ("error" too)."""
    graph = Graph(model)
    found = [*_too_new(model, newest_opset)]
    for node in graph.nodes:
        found += _operator(node)
        if node.op_type in PAIRS and node.domain in ("", "ai.onnx", "com.microsoft"):
            found += _pair(graph, node)
    return found


def _too_new(model: onnx.ModelProto, newest: int) -> Iterator[Finding]:
    if opset_of(model) > newest:
        yield Finding(
            "error",
            "",
            "",
            f"the operator set {opset_of(model)} is newer than this board's TensorRT reads ({newest})",
            f"Export with operator set {newest} or older (edgekit does, where the operators allow it).",
        )


def _operator(node: onnx.NodeProto) -> Iterator[Finding]:
    if node.op_type in QONNX:
        yield _finding(node, f"{node.op_type} is QONNX, which TensorRT has no plugin for", SYMMETRIC)
    elif node.op_type in INTEGER_OPERATORS:
        remedy = "Write explicit QuantizeLinear and DequantizeLinear pairs around the float operator."
        yield _finding(node, f"{node.op_type} is not read by TensorRT's parser", remedy)


def _pair(graph: Graph, node: onnx.NodeProto) -> Iterator[Finding]:
    kind, zero = _kind(graph, node), graph.constant(node.input[2]) if len(node.input) > 2 else None
    if len(node.input) > 2 and node.input[2] and zero is None and node.input[2] not in graph.initializers:
        yield _finding(node, "its zero point is computed while the network runs", SYMMETRIC)
    elif zero is not None and np.any(np.asarray(zero) != 0):
        values = np.unique(np.asarray(zero))
        what = f"its zero point is {int(values[np.argmax(np.abs(values.astype(np.int64)))])}, not 0"
        yield _finding(node, what + ": TensorRT refuses the file", SYMMETRIC)
    elif kind == TensorProto.UINT8:
        what = "uint8 with zero point 0 is read as int8 without an error: values above 127 steps saturate"
        yield _finding(node, what, SYMMETRIC)
    elif kind == TensorProto.INT32:
        what = "an int32 bias behind DequantizeLinear is refused by TensorRT's parser"
        yield _finding(node, what, "Keep the bias in float: TensorRT rounds it itself.")
    elif _per_channel_activation(graph, node):
        yield _finding(node, "an activation has a scale a channel; TensorRT takes one a tensor", SYMMETRIC)


def _kind(graph: Graph, node: onnx.NodeProto) -> int:
    """The type of the integers: of the zero point, else of a stored tensor, else ONNX's default, uint8."""
    for name in (node.input[2] if len(node.input) > 2 else "", node.input[0]):
        item = graph.initializers.get(name)
        if item is not None and item.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            return int(item.data_type)
    if node.op_type == "DequantizeLinear":
        maker = graph.producer.get(node.input[0])
        return (
            _kind(graph, maker)
            if maker is not None and maker.op_type == "QuantizeLinear"
            else TensorProto.UINT8
        )
    return int(attribute(node, "output_dtype", 0)) or TensorProto.UINT8


def _per_channel_activation(graph: Graph, node: onnx.NodeProto) -> bool:
    scale = graph.initializers.get(node.input[1])
    stored = node.input[0] in graph.initializers
    maker = graph.producer.get(node.input[0])
    from_weight = maker is not None and maker.op_type in PAIRS and maker.input[0] in graph.initializers
    return not stored and not from_weight and scale is not None and int(np.prod(scale.dims)) > 1


def _finding(node: onnx.NodeProto, what: str, remedy: str) -> Finding:
    return Finding("error", node.name, layer_of(node), what, remedy)
