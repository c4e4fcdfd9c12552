"""Why onnxruntime left a node in float: rules from the most to the least specific, each with its remedy.

A rule looks at one node of the file as it was given and returns (what, remedy), or None where it does not
apply.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator

import numpy as np
import onnx

from edgekit.target import Finding
from targets.cpu.caps import ARITHMETIC, MOVEMENT
from targets.cpu.nodes import HEAVY, PAIRS, Graph, Node

Cause = tuple[str, str]
INT8 = onnx.TensorProto.INT8
LOWEST = {onnx.TensorProto.INT8: -128, onnx.TensorProto.UINT8: 0}
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
FUSE = "Fuse the BatchNormalization into the weights before quantizing (edgekit does when it exports)."


def diagnose(source: Graph, optimized: Graph, placement: dict[str, str]) -> list[Finding]:
    """Findings on the whole file, then one for each node that computes in float beside integer ones."""
    quantized = any(
        node.operator in PAIRS or node.operator.startswith(("QLinear", "DynamicQuantize", "QGemm"))
        for node in source.nodes
    )
    findings = list(_whole_file(source, optimized, placement, quantized))
    for node in source.compute():
        if node.operator == "BatchNormalization" and placement[node.name] == "float":
            findings.append(_finding(node, *_batchnorm(source, node)))
        elif quantized and placement[node.name] == "float" and _matters(source, node):
            findings.append(_finding(node, *_cause(source, node)))
    return findings


def _finding(node: Node, what: str, remedy: str, severity: str = "warning") -> Finding:
    return Finding(severity, node.name, node.layer, what, remedy)


def _matters(graph: Graph, node: Node) -> bool:
    """Whether a float node costs: shapes and constants do not, nor does moving float values."""
    if _between_pairs(graph, node):
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
        f"{node.operator} runs in float: onnxruntime {_version()} did not fuse its Q/DQ pairs, for a "
        "reason that "
        "this audit does not know",
        "Leave the layer out of quantization, so that its Q/DQ pairs cost nothing.",
    )


def _version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


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
    for name in _data(node):
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


def _output_axis(node: Node, rank: int) -> int:
    if node.operator == "Gemm":
        return 0 if node.attributes.get("transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1}.get(node.operator, rank - 1)


def _symmetric_after_relu(graph: Graph, node: Node) -> Cause | None:
    """Convolution, ReLU, int8 around zero point 0: the ReLU stays, and fuses into a float convolution."""
    relu = node if node.operator in ACTIVATIONS else _only(graph, node)
    after = _only(graph, relu) if relu is not None and relu.operator in ACTIVATIONS else None
    if after is None or after.operator != "QuantizeLinear":
        return None
    kind, zero = _zero_point(graph, after)
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
    for tensor in [*_data(node), *_quantized_outputs(graph, node)]:
        pair = graph.maker(tensor)
        if pair is None or pair.operator != "DequantizeLinear" or not _signed(graph, pair):
            continue
        consumers = _consumers_of_value(graph, pair)
        if len(consumers) > 1:
            named = ", ".join(f"'{item.name}'" for item in consumers[:3])
            return (
                f"signed int8 activations fork at '{pair.inputs[0]}' ({len(consumers)} consumers: "
                f"{named}), and on "
                "x86 onnxruntime makes integer kernels of a signed pair only where one consumer takes it",
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
    if node.operator in MOVEMENT and _between_pairs(graph, node):
        return (
            "it moves values between two scales, so they are dequantized before it and quantized after it",
            "Give its input and its output the same scale and zero point.",
        )
    return None


def _mixed_types(graph: Graph, node: Node) -> Cause | None:
    kinds = {
        kind
        for name in _data(node)
        if (pair := graph.maker(name)) is not None
        and pair.operator == "DequantizeLinear"
        and (kind := _zero_point(graph, pair)[0]) is not None
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


# --- what the rules read


def _data(node: Node) -> list[str]:
    if node.operator == "Where":
        return node.inputs[1:]
    return [name for name in node.inputs[: DATA_INPUTS.get(node.operator, len(node.inputs))] if name]


def _only(graph: Graph, node: Node) -> Node | None:
    takers = graph.takers(node)
    return takers[0] if len(takers) == 1 else None


def _zero_point(graph: Graph, pair: Node) -> tuple[int | None, int | None]:
    """(data type, value) of a pair's zero point; an absent one is uint8 zero."""
    if len(pair.inputs) < 3 or not pair.inputs[2]:
        return onnx.TensorProto.UINT8, 0
    value = graph.value(pair.inputs[2])
    return graph.kind(pair.inputs[2]), None if value is None else int(np.ravel(value)[0])


def _signed(graph: Graph, pair: Node) -> bool:
    return pair.inputs[0] not in graph.initializers and _zero_point(graph, pair)[0] == INT8


def _consumers_of_value(graph: Graph, pair: Node) -> list[Node]:
    """Everything that takes the quantized tensor, through any of its DequantizeLinear twins."""
    twins = [node for node in graph.consumers.get(pair.inputs[0], []) if node.operator == "DequantizeLinear"]
    return [taker for twin in twins for taker in graph.takers(twin)]


def _between_pairs(graph: Graph, node: Node) -> bool:
    maker, taker = graph.maker(node.inputs[0]) if node.inputs else None, _only(graph, node)
    return (
        maker is not None
        and taker is not None
        and (maker.operator, taker.operator) == ("DequantizeLinear", "QuantizeLinear")
    )


def _quantized_outputs(graph: Graph, node: Node) -> list[str]:
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


# --- rules on the whole file


def _whole_file(
    source: Graph, optimized: Graph, placement: dict[str, str], quantized: bool
) -> Iterator[Finding]:
    file = Node("", "", "", "", [], [])
    halves = [
        name for name, proto in source.initializers.items() if proto.data_type == onnx.TensorProto.FLOAT16
    ]
    if not quantized and halves:
        casts = sum(node.operator == "Cast" for node in optimized.nodes)
        yield _finding(
            file,
            f"the file is fp16: the CPU computes in fp32 and converts with {casts} Cast nodes",
            "Use fp16 for the file's size alone; for speed, quantize to int8.",
        )
    elif not quantized:
        yield _finding(
            file,
            "the file holds no quantization: everything runs in float",
            "Quantize it (edgekit compress), or take it as the fp32 baseline.",
            "note",
        )
    if quantized and source.opset < 13:
        yield _finding(
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
            yield _finding(
                node,
                "dynamic quantization: the scale is computed anew in every run",
                "Calibrate and quantize statically (edgekit compress with a quantize step).",
            )


def _operator_form(source: Graph) -> Iterator[Finding]:
    """QLinear operators on signed activations have slow kernels on x86, and are never converted."""
    for node in source.nodes:
        zero = {"QLinearConv": 2, "QLinearMatMul": 2}.get(node.operator)
        if zero is not None and len(node.inputs) > zero and source.kind(node.inputs[zero]) == INT8:
            yield _finding(
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
            yield _finding(
                node,
                f"its {named} is stored in float: onnxruntime {_version()} rounds it while loading, older "
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
        axis, right = int(pair.attributes.get("axis", 1)) % rank, _output_axis(node, rank)
        if np.size(source.value(pair.inputs[1])) > 1 and axis != right:
            yield _finding(
                node,
                f"its weight has scales along axis {axis}, but its output channels are axis {right}: "
                "onnxruntime takes the scales for output channels, and the results are wrong",
                f"Quantize the weight per output channel (axis {right}), or per tensor.",
                "error",
            )
