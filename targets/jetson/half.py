"""A Q/DQ file in half precision, for TensorRT 11 and later: there a file's own types are the engine's.

A file whose floats are float32 would have its layers in float computed in fp32. Here they are float16, the scales too;
an input is still quantized from float32, so that its integers are those that were trained for.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edgekit.export.graph import Graph
from edgekit.export.opset import opset_of, to_opset
from edgekit.quant.half import to_fp16
from targets.jetson.forms import PAIRS

PAIRS_IN_HALF = 19  # the first operator set whose QuantizeLinear and DequantizeLinear take float16
SMALLEST = 2.0**-14  # a float16 below it has fewer than 11 digits


def half_pairs(model: onnx.ModelProto, newest_opset: int) -> onnx.ModelProto:
    """A copy of a Q/DQ file in float16 between float32 inputs and outputs.

    A scale moves by at most 2^-11 of the largest of its tensor. Pairs stay in float32, between casts, where that
    largest scale is below 2^-14, or where the file's operator set is older than 19. BadInput where an operator needs a
    set newer than `newest_opset`.
    """
    plain = to_opset(model, newest_opset, oldest=PAIRS_IN_HALF)
    half = to_fp16(plain, in_float=_in_float(plain))
    _quantize_inputs_from_float(half, Graph(plain))
    return half


def _in_float(plain: onnx.ModelProto) -> list[str]:
    """The pairs that half precision cannot hold."""
    graph = Graph(plain)
    scales = {node.name: graph.constant(node.input[1]) for node in graph.nodes if node.op_type in PAIRS}
    old = opset_of(plain) < PAIRS_IN_HALF
    return [name for name, scale in scales.items() if old or scale is None or np.max(scale) < SMALLEST]


def _quantize_inputs_from_float(half: onnx.ModelProto, plain: Graph) -> None:
    """Let the pairs of inputs read the inputs themselves, by their own scale."""
    nodes = {node.name: node for node in half.graph.node}
    for name in plain.inputs:
        for node in plain.consumers[name]:
            if node.op_type == "QuantizeLinear":
                scale = numpy_helper.from_array(
                    np.asarray(plain.constant(node.input[1])), f"{node.name}_scale"
                )
                half.graph.initializer.append(scale)
                nodes[node.name].input[:2] = [name, scale.name]
    _drop_unread_casts(half)


def _drop_unread_casts(model: onnx.ModelProto) -> None:
    graph = Graph(model)
    for node in reversed(list(graph.nodes)):
        readers = [item for item in graph.consumers[node.output[0]] if item in model.graph.node]
        if node.op_type == "Cast" and not readers and node.output[0] not in graph.outputs:
            model.graph.node.remove(node)
