"""The lint: what of a fp32 graph a Jetson's TensorRT cannot run, or runs badly, before anything is trained."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from edgekit.errors import BadInput
from edgekit.export.graph import Graph, attribute, layer_of
from edgekit.export.opset import to_opset
from edgekit.quant.placement import WEIGHTED
from edgekit.target import Caps, Finding
from targets.jetson.builder import Built, build
from targets.jetson.forms import wrong_forms

# Operators that move or prepare values and cost nothing worth naming.
IGNORED = frozenset(
    {
        "BatchNormalization",
        "Cast",
        "Constant",
        "ConstantOfShape",
        "Dropout",
        "Expand",
        "Gather",
        "Identity",
        "Pad",
    }
    | {"Range", "Shape", "Size", "Split", "QuantizeLinear", "DequantizeLinear"}
)


def lint(model: onnx.ModelProto, caps: Caps) -> list[Finding]:
    """Errors (cannot run), warnings (cost speed or accuracy), then notes, by node and source layer."""
    graph = Graph(model)
    findings = [*_readable(model, caps), *_free_dimensions(graph)]
    for node in graph.nodes:
        findings += [*_channels(graph, node, caps), *_no_kernel(node, caps)]
    return sorted(findings, key=lambda finding: ("error", "warning", "note").index(finding.severity))


def _readable(model: onnx.ModelProto, caps: Caps) -> Iterator[Finding]:
    """What the rules refuse, else what NVIDIA's own parser does, where it is installed."""
    try:
        made = to_opset(model, caps.opset)
    except BadInput as error:
        what, _, remedy = str(error).removeprefix("export: ").partition(". ")
        yield Finding("error", "", "", what, remedy)
        return
    wrong = wrong_forms(made, newest_opset=caps.opset)
    yield from wrong
    if wrong:
        return
    with tempfile.TemporaryDirectory(prefix="edgekit-lint-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(made, path)
        built = build(path)
    if isinstance(built, Built):
        layers = {node.name: layer_of(node) for node in made.graph.node}
        for node, reason in built.refused:
            what = f"NVIDIA's parser refuses it: {reason}"
            yield Finding("error", node, layers.get(node, ""), what, "Replace the operator it names.")


def _free_dimensions(graph: Graph) -> Iterator[Finding]:
    shapes = graph.shapes()
    for name in graph.inputs:
        free = [index for index, size in enumerate(shapes.get(name, [])) if size is None and index > 0]
        if free:
            what = (
                f"the input '{name}' leaves dimension {free[0]} free: every shape needs a profile of its own"
            )
            yield Finding("warning", "", "", what, "Export with the size that the board will see.")


def _channels(graph: Graph, node: onnx.NodeProto, caps: Caps) -> Iterator[Finding]:
    """Tensor cores work on blocks of channels: a last block that is not full takes as long as a full one."""
    weight = graph.initializers.get(node.input[1]) if node.op_type == "Conv" and len(node.input) > 1 else None
    if weight is None or attribute(node, "group", 1) != 1:
        return
    channels, multiple = int(weight.dims[0]), caps.channel_multiple
    full = math.ceil(channels / multiple) * multiple
    if full - channels > multiple // 2 or full == channels:
        return
    what = f"{channels} output channels are no multiple of {multiple}, the block of the tensor cores"
    yield Finding("note", node.name, layer_of(node), what, f"{full} channels may take no longer.")


def _no_kernel(node: onnx.NodeProto, caps: Caps) -> Iterator[Finding]:
    if not caps.operators or node.op_type in caps.operators | IGNORED | WEIGHTED:
        return
    what = f"{node.op_type} has no int8 kernel in TensorRT and stays in float under int8"
    yield Finding("note", node.name, layer_of(node), what, "Nothing need be done; fp16 runs all of it.")
