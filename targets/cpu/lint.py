"""The lint: what of a fp32 graph onnxruntime cannot run, or runs badly, before anything is trained."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from edgekit.errors import BadInput
from edgekit.profile.denormals import unsettled_batchnorm
from edgekit.target import Caps, Finding
from targets.cpu.nodes import HEAVY, Graph, Node
from targets.cpu.runtime import OrtRunner

# Operators that cost nothing worth naming, or that the exporter folds away.
IGNORED = frozenset(
    {
        "BatchNormalization",
        "Cast",
        "Constant",
        "ConstantOfShape",
        "Dropout",
        "Expand",
        "Identity",
        "Pad",
        "Range",
        "Shape",
        "Size",
    }
)
OLDEST_OPSET = 13  # Q/DQ per channel


def lint(model: onnx.ModelProto, caps: Caps) -> list[Finding]:
    """Errors (cannot run), warnings (cost speed or accuracy), then notes, by node and source layer."""
    graph = Graph(model)
    findings = [*_cannot_run(model), *_opset(graph), *unsettled_batchnorm(model)]
    for node in graph.compute():
        for rule in (_channels, _groups, _batchnorm, _padding, _no_kernel):
            findings += rule(graph, node, caps)
    return sorted(findings, key=lambda finding: ("error", "warning", "note").index(finding.severity))


def _cannot_run(model: onnx.ModelProto) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="edgekit-lint-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path, save_as_external_data=model.ByteSize() > 2**30, location="model.data")
        try:
            OrtRunner(path, optimization="none")
        except BadInput as error:
            what, _, remedy = str(error).removeprefix(f"{path}: ").partition(". ")
            yield Finding("error", "", "", what, remedy)


def _opset(graph: Graph) -> Iterator[Finding]:
    if graph.opset < OLDEST_OPSET:
        yield Finding(
            "warning",
            "",
            "",
            f"the opset {graph.opset} is too old for weights quantized per channel",
            f"Export with opset {OLDEST_OPSET} or later.",
        )


def _channels(graph: Graph, node: Node, caps: Caps) -> Iterator[Finding]:
    """Kernels work on blocks of channels: a last block that is not full takes as long as a full one."""
    channels, multiple = output_channels(graph, node), caps.channel_multiple
    if channels is None or channels % multiple == 0 or _is_head(graph, node):
        return
    full = math.ceil(channels / multiple) * multiple
    yield _finding(
        "warning",
        node,
        f"{channels} output channels are no multiple of {multiple}: the last block of channels is "
        f"{full - channels} short, {100 * (full / channels - 1):.0f} % of the work is wasted, and {full} "
        "channels can be faster (measured on ResNet-8: 15 are 1.5 times as slow as 16 in int8)",
        f"Use {full}{f' or {full - multiple}' if full > multiple else ''} channels; prune rounds to "
        f"{multiple}.",
    )


def _groups(graph: Graph, node: Node, caps: Caps) -> Iterator[Finding]:
    """Grouped, not depthwise: measured at 64 channels, int8 is 0.8 (4 groups) or 0.3 (16) times as fast."""
    groups, channels = int(node.attributes.get("group", 1)), output_channels(graph, node)
    if node.operator != "Conv" or channels is None or groups in (1, channels):
        return
    yield _finding(
        "warning",
        node,
        f"a grouped convolution ({groups} groups of {channels // groups} channels) is slower in int8 than "
        "in float: onnxruntime runs its groups one after the other",
        f"Leave '{node.layer}' out of quantization, or use a depthwise or a dense convolution.",
    )


def _batchnorm(graph: Graph, node: Node, caps: Caps) -> Iterator[Finding]:
    if node.operator != "BatchNormalization":
        return
    before = graph.maker(node.inputs[0])
    if before is not None and before.family == "Conv" and len(graph.takers(before)) == 1:
        return
    where = f"after {before.operator} '{before.name}'" if before is not None else "on an input"
    yield _finding(
        "warning",
        node,
        f"BatchNormalization {where} is not fused by onnxruntime and stays in float",
        "Fuse it into a linear layer's weights before export (edgekit does), or move it after a convolution.",
    )


def _padding(graph: Graph, node: Node, caps: Caps) -> Iterator[Finding]:
    if node.operator != "Pad":
        return
    fixed = len(node.inputs) < 2 or node.inputs[1] in graph.initializers
    what = (
        "Pad stays in float between integer layers"
        if fixed
        else "Pad computes its widths while the network runs, and keeps the layers around it in float"
    )
    yield _finding(
        "note" if fixed else "warning",
        node,
        what,
        "Export with a fixed image size, so that the padding becomes an attribute of the convolution.",
    )


def _no_kernel(graph: Graph, node: Node, caps: Caps) -> Iterator[Finding]:
    on_data = any(graph.maker(name) is not None or name in graph.inputs for name in node.inputs)
    if not on_data or node.operator in caps.operators | IGNORED or _on_shapes(graph, node):
        return
    remedy = (
        "Export the mean over height and width as GlobalAveragePool."
        if node.operator == "ReduceMean"
        else "Expect a Q/DQ pair around it, or use an operator that has one."
    )
    yield _finding(
        "note", node, f"{node.operator} has no integer kernel and stays in float under int8", remedy
    )


def output_channels(graph: Graph, node: Node) -> int | None:
    """The output channels of a convolution or matrix product with a constant weight, else None."""
    if node.family not in HEAVY or len(node.inputs) < 2 or node.inputs[1] not in graph.initializers:
        return None
    shape = [int(size) for size in graph.initializers[node.inputs[1]].dims]
    if len(shape) < 2:
        return None
    if node.operator == "ConvTranspose":
        return shape[1] * int(node.attributes.get("group", 1))
    return shape[0] if node.operator == "Conv" or node.attributes.get("transB", 0) else shape[-1]


def _is_head(graph: Graph, node: Node) -> bool:
    """Whether no other layer with weights follows: its channels are the task's own (classes, coordinates)."""
    front, seen = [node], {node.name}
    while front:
        for taker in graph.takers(front.pop()):
            if taker.family in HEAVY:
                return False
            if taker.name not in seen:
                seen.add(taker.name)
                front.append(taker)
    return True


def _on_shapes(graph: Graph, node: Node) -> bool:
    """Whether a node computes on shapes, not on activations: every maker behind it ends in Shape."""
    makers = [maker for name in node.inputs if (maker := graph.maker(name)) is not None]
    return bool(makers) and all(
        maker.operator in ("Shape", "Constant") or (maker.family not in HEAVY and _on_shapes(graph, maker))
        for maker in makers
    )


def _finding(severity: str, node: Node, what: str, remedy: str) -> Finding:
    return Finding(severity, node.name, node.layer, what, remedy)
