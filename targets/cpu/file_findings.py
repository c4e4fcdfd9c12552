"""Findings on a file as a whole: its precision, opset, dynamic quantization, QLinear form, constants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from edgekit.target import Finding
from targets.cpu.nodes import HEAVY, Graph, Node
from targets.cpu.pairs import INT8, REQUANTIZE, finding, output_axis, version


def whole_file(
    source: Graph, optimized: Graph, placement: dict[str, str], quantized: bool
) -> Iterator[Finding]:
    """Findings that need no rule of their own node: precision, opset, dynamic forms, constants."""
    file = Node("", "", "", "", [], [])
    halves = [
        name for name, proto in source.initializers.items() if proto.data_type == onnx.TensorProto.FLOAT16
    ]
    if not quantized and halves:
        casts = sum(node.operator == "Cast" for node in optimized.nodes)
        yield finding(
            file,
            f"the file is fp16: the CPU computes in fp32 and converts with {casts} Cast nodes",
            "Use fp16 for the file's size alone; for speed, quantize to int8.",
        )
    elif not quantized:
        yield finding(
            file,
            "the file holds no quantization: everything runs in float",
            "Quantize it (edgekit compress), or take it as the fp32 baseline.",
            "note",
        )
    if quantized and source.opset < 13:
        yield finding(
            file,
            f"the opset {source.opset} is too old: Q/DQ per channel came with 13",
            "Export with opset 13 or later.",
        )
    yield from _dynamic(source)
    yield from _operator_form(source)
    yield from _float_constants(source, placement)
    yield from _wrong_axes(source)


def _dynamic(source: Graph) -> Iterator[Finding]:
    for node in source.nodes:
        if node.operator in ("DynamicQuantizeLinear", "DynamicQuantizeMatMul"):
            yield finding(
                node,
                "dynamic quantization: the scale is computed anew in every run",
                "Calibrate and quantize statically (edgekit compress with a quantize step).",
            )


def _operator_form(source: Graph) -> Iterator[Finding]:
    """QLinear operators on signed activations have slow kernels on x86, and are never converted."""
    for node in source.nodes:
        zero = {"QLinearConv": 2, "QLinearMatMul": 2}.get(node.operator)
        if zero is not None and len(node.inputs) > zero and source.kind(node.inputs[zero]) == INT8:
            yield finding(
                node,
                f"{node.operator} on signed activations: on x86 its kernel is slower than fp32",
                REQUANTIZE,
            )


def _float_constants(source: Graph, placement: dict[str, str]) -> Iterator[Finding]:
    """onnxruntime 1.32 rounds a float weight or bias while loading; older ones keep the layer in float."""
    for node in source.compute():
        if (
            node.family not in HEAVY
            or placement[node.name] != "integer"
            or node.operator.startswith("QLinear")
        ):
            continue
        parts = [
            part
            for part, name in zip(("weight", "bias"), node.inputs[1:3], strict=False)
            if source.kind(name) == onnx.TensorProto.FLOAT
        ]
        if parts:
            named = " and ".join(parts)
            yield finding(
                node,
                f"its {named} is stored in float: onnxruntime {version()} rounds it while loading, older "
                "versions leave the layer in float",
                "Store weights as int8, and the bias as int32 with scale = input scale times weight scale.",
                "note",
            )


def _wrong_axes(source: Graph) -> Iterator[Finding]:
    """onnxruntime ignores the axis and takes the scales for output channels: wrong, without a word."""
    for node in source.compute():
        pair = source.maker(node.inputs[1]) if node.family in HEAVY and len(node.inputs) > 1 else None
        if pair is None or pair.operator != "DequantizeLinear" or pair.inputs[0] not in source.initializers:
            continue
        rank = len(source.initializers[pair.inputs[0]].dims)
        axis, right = int(pair.attributes.get("axis", 1)) % rank, output_axis(node, rank)
        if np.size(source.value(pair.inputs[1])) > 1 and axis != right:
            yield finding(
                node,
                f"its weight has scales along axis {axis}, but its output channels are axis {right}: "
                "onnxruntime takes the scales for output channels, and the results are wrong",
                f"Quantize the weight per output channel (axis {right}), or per tensor.",
                "error",
            )
