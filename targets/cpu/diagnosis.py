"""Why onnxruntime left a node in float: rules from the most to the least specific, each with its remedy.

A rule looks at one node of the file as it was given and returns (what, remedy), or None where it does not
apply.
"""

from __future__ import annotations

import platform
from collections.abc import Callable

from edgekit.target import Finding
from targets.cpu.caps import ARITHMETIC, MOVEMENT
from targets.cpu.file_findings import whole_file
from targets.cpu.nodes import HEAVY, PAIRS, Graph, Node
from targets.cpu.pairs import (
    ACTIVATIONS,
    LOWEST,
    REQUANTIZE,
    between_pairs,
    consumers_of_value,
    data_inputs,
    finding,
    is_signed,
    only_taker,
    quantized_outputs,
    version,
    zero_point,
)

Cause = tuple[str, str]
FUSE = "Fuse the BatchNormalization into the weights before quantizing (edgekit does when it exports)."


def diagnose(source: Graph, optimized: Graph, placement: dict[str, str]) -> list[Finding]:
    """Findings on the whole file, then one for each node that computes in float beside integer ones."""
    quantized = any(
        node.operator in PAIRS or node.operator.startswith(("QLinear", "DynamicQuantize", "QGemm"))
        for node in source.nodes
    )
    findings = list(whole_file(source, optimized, placement, quantized))
    for node in source.compute():
        if node.operator == "BatchNormalization" and placement[node.name] == "float":
            findings.append(finding(node, *_batchnorm(source, node)))
        elif quantized and placement[node.name] == "float" and _matters(source, node):
            findings.append(finding(node, *_cause(source, node)))
    return findings


def _matters(graph: Graph, node: Node) -> bool:
    """Whether a float node costs: shapes and constants do not, nor does moving float values."""
    if between_pairs(graph, node):
        return True
    moves = node.operator in MOVEMENT - {"MaxPool", "ReduceMax", "Resize"} or node.operator in (
        "Shape",
        "Cast",
        "Identity",
    )
    return not moves and any(name in graph.inputs or graph.maker(name) is not None for name in node.inputs)


def _cause(graph: Graph, node: Node) -> Cause:
    for rule in RULES:
        cause = rule(graph, node)
        if cause is not None:
            return f"{node.operator} runs in float: {cause[0]}", cause[1]
    return (
        f"{node.operator} runs in float: onnxruntime {version()} did not fuse its Q/DQ pairs, for a reason "
        "that this audit does not know",
        "Leave the layer out of quantization, so that its Q/DQ pairs cost nothing.",
    )


# --- rules on one node


def _between_batchnorm(graph: Graph, node: Node) -> Cause | None:
    if node.family in HEAVY and any(taker.operator == "BatchNormalization" for taker in graph.takers(node)):
        return "a BatchNormalization follows it, so its output is not quantized", FUSE
    return None


def _no_kernel(graph: Graph, node: Node) -> Cause | None:
    if node.operator == "Resize" and node.attributes.get("mode", b"nearest") != b"nearest":
        return (
            "onnxruntime has no integer kernel for an interpolating Resize",
            "Use mode nearest, or leave it in float.",
        )
    if node.operator in ARITHMETIC | MOVEMENT | ACTIVATIONS:
        return None
    remedies = {
        "ReduceMean": "Export the mean over height and width as GlobalAveragePool, which has one.",
        "Pad": "Move the padding into the pads attribute of the convolution or pool after it.",
        "HardSwish": "Use ReLU, or leave it in float with its neighbours.",
        "ConvTranspose": "Use Resize (nearest) and Conv, or leave it in float.",
    }
    remedy = remedies.get(
        node.operator, "Replace it by an operator that has one, or leave it out of quantization."
    )
    if node.operator == "Pad" and len(node.inputs) > 1 and graph.value(node.inputs[1]) is None:
        return (
            "its pads are computed while the network runs (dynamic shapes)",
            "Export with a fixed image size and fold constants, so that the padding becomes an attribute "
            "of the Conv.",
        )
    return "onnxruntime has no integer kernel for it on the CPU", remedy


def _float_input(graph: Graph, node: Node) -> Cause | None:
    for name in data_inputs(node):
        maker = graph.maker(name)
        if maker is not None and maker.operator == "DequantizeLinear":
            continue
        if name in graph.initializers and node.family in HEAVY:
            continue
        return (
            f"its input '{name}' is not quantized",
            f"Put a Q/DQ pair on '{name}', or leave '{node.layer}' out of quantization altogether.",
        )
    return None


def _float_weight(graph: Graph, node: Node) -> Cause | None:
    if node.family not in HEAVY or len(node.inputs) < 2:
        return None
    pair = graph.maker(node.inputs[1])
    if pair is None or pair.operator != "DequantizeLinear":
        return "its weight is not quantized", "Store the weight as int8 with a DequantizeLinear, symmetric."
    return None


def _symmetric_after_relu(graph: Graph, node: Node) -> Cause | None:
    """Convolution, ReLU, int8 around zero point 0: the ReLU stays, and fuses into a float convolution."""
    relu = node if node.operator in ACTIVATIONS else only_taker(graph, node)
    if relu is None or relu.operator not in ACTIVATIONS:
        return None
    after = only_taker(graph, relu)
    if after is None or after.operator != "QuantizeLinear":
        return None
    kind, zero = zero_point(graph, after)
    if kind is None or zero == LOWEST.get(kind):
        return None
    return (
        f"the {relu.operator} after it is not absorbed, because the zero point is {zero} and not "
        f"{LOWEST.get(kind)}",
        "Quantize the output of a ReLU as uint8 with zero point 0.",
    )


def _signed_fork(graph: Graph, node: Node) -> Cause | None:
    """Signed pairs become unsigned ones on x86 only where a tensor has one consumer.

    onnxruntime merges equal Q/DQ pairs again, so a pair for each consumer does not help.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    for tensor in [*data_inputs(node), *quantized_outputs(graph, node)]:
        pair = graph.maker(tensor)
        if pair is None or pair.operator != "DequantizeLinear" or not is_signed(graph, pair):
            continue
        consumers = consumers_of_value(graph, pair)
        if len(consumers) > 1:
            named = ", ".join(f"'{item.name}'" for item in consumers[:3])
            return (
                f"signed int8 activations fork at '{pair.inputs[0]}' ({len(consumers)} consumers: "
                f"{named}), and on x86 onnxruntime makes integer kernels of a signed pair only where one "
                "consumer takes it",
                REQUANTIZE,
            )
    return None


def _float_output(graph: Graph, node: Node) -> Cause | None:
    if node.family not in HEAVY and node.operator not in ARITHMETIC:
        return None
    takers = graph.takers(node)
    last = takers[0] if len(takers) == 1 and takers[0].operator in ACTIVATIONS else node
    floats = [taker for taker in graph.takers(last) if taker.operator != "QuantizeLinear"]
    if floats:
        return (
            f"its output goes to '{floats[0].name}' ({floats[0].operator}) without being quantized",
            f"Put a Q/DQ pair on '{last.outputs[0]}'.",
        )
    if any(name in graph.outputs for name in last.outputs):
        return (
            "its output leaves the network without being quantized",
            f"Put a Q/DQ pair on the output '{last.outputs[0]}'; onnxruntime fuses a node only between "
            "pairs.",
        )
    if len(takers) > 1 and any(taker.operator in ACTIVATIONS for taker in takers):
        return (
            "its output is taken both before and after its activation",
            "Quantize it once, before the activation.",
        )
    return None


def _two_scales(graph: Graph, node: Node) -> Cause | None:
    if node.operator in MOVEMENT and between_pairs(graph, node):
        return (
            "it moves values between two scales, so they are dequantized before it and quantized after it",
            "Give its input and its output the same scale and zero point.",
        )
    return None


def _mixed_types(graph: Graph, node: Node) -> Cause | None:
    kinds = {
        kind
        for name in data_inputs(node)
        if (pair := graph.maker(name)) is not None
        and pair.operator == "DequantizeLinear"
        and (kind := zero_point(graph, pair)[0]) is not None
    }
    if len(kinds) > 1:
        return (
            "its inputs are quantized in different types (int8 and uint8)",
            "Quantize every activation as uint8, constants that are added or multiplied included.",
        )
    return None


def _alone_relu(graph: Graph, node: Node) -> Cause | None:
    if node.operator in ACTIVATIONS:
        return (
            "it is not absorbed by the node before it",
            "Quantize its output alone, with the lowest zero point.",
        )
    return None


Rule = Callable[[Graph, Node], "Cause | None"]
RULES: tuple[Rule, ...] = (
    _between_batchnorm,
    _no_kernel,
    _float_input,
    _float_weight,
    _two_scales,
    _mixed_types,
    _symmetric_after_relu,
    _signed_fork,
    _float_output,
    _alone_relu,
)


def _batchnorm(graph: Graph, node: Node) -> Cause:
    before = graph.maker(node.inputs[0])
    if before is not None and before.operator == "DequantizeLinear":
        return "BatchNormalization runs by itself: a Q/DQ pair parts it from the layer before it", FUSE
    if before is not None and before.family == "Gemm":
        return f"BatchNormalization runs by itself: onnxruntime does not fuse it into {before.operator}", FUSE
    return "BatchNormalization runs by itself: no convolution alone feeds it", FUSE
