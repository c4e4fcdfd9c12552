"""The audit: what of a QONNX file FINN computes in integers, with how many bits, and what stays in float.

A convolution or matrix product is integer where its input and its weight come from quantizers. What is affine or
a ReLU in front of a quantizer disappears into its thresholds, as does what is affine behind the last layer, which
the host computes on a handful of values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edgekit.target import Audit, Finding
from targets.cpu.nodes import PAIRS, Graph, Node, read
from targets.fpga.data_path import AFFINE, AVERAGES, HEAVY, MOVING, bits_of, data_inputs, on_data
from targets.fpga.standard_ops import QUANTIZERS

SHAPES = frozenset({"Cast", "Constant", "Gather", "Shape"})
MOST = 8
ABSORBED = "moved away"


def audit(path: Path) -> Audit:
    """What FINN makes of a QONNX file; BadInput where the file is broken."""
    graph = Graph(read(Path(path)))
    placement = {node.name: place for node in graph.nodes if (place := _place(graph, node))}
    count = Counter(placement.values())
    return Audit(
        float_compute_nodes=count["float"],
        stray_qdq=sum(node.operator in PAIRS for node in graph.nodes),
        integer_compute_nodes=count["integer"],
        nodes=dict(Counter(node.operator for node in graph.nodes)),
        placement=placement,
        findings=tuple(_findings(graph, placement)),
    )


@dataclass(frozen=True)
class LayerBits:
    """The bits that a convolution or matrix product works with; None where it works in float."""

    node: str
    layer: str
    weights: int | None
    activations: int | None


def layer_bits(model: onnx.ModelProto) -> list[LayerBits]:
    """Weight and activation bits of every convolution and matrix product, in the file's order."""
    graph = Graph(model)
    return [
        LayerBits(node.name, node.layer, bits_of(graph, node.inputs[1]), bits_of(graph, node.inputs[0]))
        for node in graph.nodes
        if node.operator in HEAVY
    ]


def precision_of(model: onnx.ModelProto) -> str:
    """`W4A4`, or `W2-8A4` where layers differ; `+fp32` where some stay in float, `fp32` where all do."""
    layers = layer_bits(model)
    integer = [layer for layer in layers if layer.weights and layer.activations]
    if not integer:
        return "fp32"
    weights = _span({int(layer.weights or 0) for layer in integer})
    activations = _span({int(layer.activations or 0) for layer in integer})
    return f"W{weights}A{activations}{'' if len(integer) == len(layers) else '+fp32'}"


def _span(values: set[int]) -> str:
    return "-".join(str(value) for value in sorted({min(values), max(values)}))


def _place(graph: Graph, node: Node) -> str:
    """Where a node is computed; "" for quantizers, constants, shapes and what only moves values."""
    kind = node.operator
    if kind in QUANTIZERS | PAIRS | SHAPES or not on_data(graph, node):
        return ""
    if kind in HEAVY:
        return _integer(all(bits_of(graph, name) for name in node.inputs[:2]))
    if kind == "MaxPool":
        return _integer(bits_of(graph, node.inputs[0]) is not None)
    if kind in MOVING:
        return ""
    if kind in AVERAGES:
        return _integer(bits_of(graph, node.inputs[0]) is not None and _quantized_next(graph, node))
    if kind == "Add" and data_inputs(graph, node) == len(node.inputs):
        return _integer(all(bits_of(graph, name) for name in node.inputs))
    return ABSORBED if _absorbed(graph, node) else "float"


def _integer(known: bool) -> str:
    return "integer" if known else "float"


def _absorbed(graph: Graph, node: Node) -> bool:
    """Whether an affine operator or a ReLU ends in thresholds, or, affine, in the output."""
    if node.operator not in AFFINE | {"Relu", "Selu"} or data_inputs(graph, node) > 1:
        return False
    takers = graph.takers(node)
    at_end = node.operator in AFFINE and any(name in graph.outputs for name in node.outputs)
    return bool(takers or at_end) and all(
        taker.operator in QUANTIZERS or _absorbed(graph, taker) for taker in takers
    )


def _quantized_next(graph: Graph, node: Node) -> bool:
    takers = graph.takers(node)
    return bool(takers) and all(
        taker.operator in QUANTIZERS or (taker.operator in MOVING and _quantized_next(graph, taker))
        for taker in takers
    )


def _findings(graph: Graph, placement: dict[str, str]) -> Iterator[Finding]:
    if not any(node.operator in QUANTIZERS for node in graph.nodes):
        yield Finding(
            "error",
            "",
            "",
            "the file has no quantizer: FINN makes nothing of it",
            "Train at low bits and export that.",
        )
        return
    for node in graph.nodes:
        if placement.get(node.name) == "float":
            yield Finding("error", node.name, node.layer, *_cause(graph, node))
        elif node.operator in PAIRS:
            yield Finding(
                "error", node.name, node.layer, f"FINN does not read {node.operator}", "Export QONNX."
            )
        elif node.operator in QUANTIZERS:
            yield from _limits(graph, node)
        else:
            yield from _surroundings(graph, node)


def _surroundings(graph: Graph, node: Node) -> Iterator[Finding]:
    """What FINN refuses, or gets wrong, of an operator and the quantizer in front of it."""
    if node.operator == "AveragePool" and not _follows_quantizer(graph, node):
        what = "FINN looks for the sign of what it averages at the node in front, which is no quantizer"
        yield Finding("error", node.name, node.layer, what, "Put a quantizer right in front.")
    if (
        node.operator == "Conv"
        and any(node.attributes.get("pads", []))
        and bits_of(graph, node.inputs[0]) == 1
    ):
        what = "it pads bipolar values with 0, which the hardware reads as -1"
        yield Finding("error", node.name, node.layer, what, "Drop the padding, or give its input 2 bits.")


def _follows_quantizer(graph: Graph, node: Node) -> bool:
    maker = graph.maker(node.inputs[0])
    return maker is not None and maker.operator in QUANTIZERS


def _cause(graph: Graph, node: Node) -> tuple[str, str]:
    kind = f"{node.operator} stays in float"
    if node.operator in HEAVY:
        missing = [
            word
            for word, name in zip(("input", "weight"), node.inputs[:2], strict=True)
            if bits_of(graph, name) is None
        ]
        return f"{kind}: its {' and its '.join(missing)} has no quantizer", "Put a quantizer in front."
    if node.operator == "MaxPool":
        return f"{kind}: it pools what is not quantized", "Put it behind the activation."
    if node.operator in AVERAGES:
        return f"{kind}: no truncation follows it", "Use brevitas' TruncAvgPool2d with rounding 'floor'."
    if node.operator == "Add":
        return f"{kind}: an operand is not quantized", "Pass both operands through one quantizer."
    return f"{kind}: no quantizer follows that could take it in", "Use a ReLU, with a quantizer behind it."


def _limits(graph: Graph, node: Node) -> Iterator[Finding]:
    """What FINN refuses of a quantizer: a zero point, more than 8 bits of an activation, truncation that rounds."""
    zero = graph.value(node.inputs[2]) if len(node.inputs) > 2 else None
    bits = bits_of(graph, node.outputs[0])
    if zero is not None and np.any(zero):
        what = "a quantizer with a zero point, which FINN does not have"
        yield Finding("error", node.name, node.layer, what, "Quantize symmetrically.")
    if on_data(graph, node) and bits is not None and bits > MOST:
        what = f"an activation of {bits} bits would need {2**bits - 1} thresholds; FINN takes {MOST} bits"
        yield Finding("error", node.name, node.layer, what, f"Give it {MOST} bits or fewer.")
    mode = node.attributes.get("rounding_mode", b"FLOOR")
    if node.operator == "Trunc" and bytes(mode).upper() != b"FLOOR":
        what = f"a truncation that rounds by {bytes(mode).decode()}; FINN floors"
        yield Finding("error", node.name, node.layer, what, "Use float_to_int_impl_type='floor'.")
