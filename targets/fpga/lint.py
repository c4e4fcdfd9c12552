"""The lint: what of a fp32 graph has no low-bit form for FINN, and the nearest that has, before anything is trained.

The rules are what finn-plus 1.6 did in its estimate flow with a small network of each form. An error stops FINN,
or edgekit before it; a warning needs another flow or costs accuracy; a note is worth knowing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from edgekit.target import Caps, Finding
from targets.cpu.nodes import Graph, Node
from targets.fpga.data_path import AFFINE, AVERAGES, HEAVY, MOVING, data_inputs, is_data, on_data, source
from targets.fpga.standard_ops import QUANTIZERS

ACTIVATIONS = frozenset({"Clip", "Relu"})
KNOWN = (HEAVY | AVERAGES | MOVING | ACTIVATIONS | QUANTIZERS | {"Add", "BatchNormalization"}) - {
    "ConvTranspose",
    "Pad",
    "Transpose",
}
STEPS = "finn-plus' steps for residual networks"
RELU = "Use Relu and train again"
NORM = "Use BatchNormalization, which becomes thresholds"
REMEDIES = {
    "Concat": "Add the branches instead",
    "ConvTranspose": "Keep the decoder off the FPGA",
    "GroupNormalization": NORM,
    "InstanceNormalization": NORM,
    "LayerNormalization": NORM,
    "LogSoftmax": "Leave it out: the largest output stays the largest",
    "Pad": "Pad in the convolution",
    "Resize": "Keep this part off the FPGA",
    "Softmax": "Leave it out: the largest output stays the largest",
    "Transpose": "Keep the layout of the input",
}


def lint(model: onnx.ModelProto, caps: Caps) -> list[Finding]:
    """Errors, then warnings, then notes, each with its node, its source layer and the nearest supported form."""
    made = onnx.shape_inference.infer_shapes(model)
    graph, shapes = Graph(made), _shapes(made)
    findings = list(_whole(graph))
    for node in graph.compute():
        if on_data(graph, node):
            for rule in (_unknown, _convolution, _weight, _average, _addition, _sign, _pooling):
                findings += rule(graph, node, caps, shapes)
    return sorted(findings, key=lambda finding: ("error", "warning", "note").index(finding.severity))


Shapes = dict[str, list[int | None]]


def _whole(graph: Graph) -> Iterator[Finding]:
    if not any(node.operator in HEAVY for node in graph.nodes):
        what = "the model has no convolution and no matrix product"
        yield Finding("error", "", "", what, "Choose a model with layers to quantize.")
    for name, value in graph.inputs.items():
        free = [
            dim.dim_param or "?"
            for dim in value.type.tensor_type.shape.dim[1:]
            if not dim.HasField("dim_value")
        ]
        if free:
            what = f"the input '{name}' has free dimensions ({', '.join(free)}); the hardware has one size"
            yield Finding("error", name, name, what, "Export with a fixed size; the batch may stay free.")


def _unknown(graph: Graph, node: Node, caps: Caps, shapes: Shapes) -> Iterator[Finding]:
    """Operators without a low-bit form; sums have a rule of their own, constants beside data disappear."""
    if (
        node.operator in KNOWN
        or (node.operator in AFFINE and data_inputs(graph, node) < 2)
        or _padding(graph, node)
    ):
        return
    last = all(name in graph.outputs for name in node.outputs) and "oftmax" in node.operator
    what = f"{node.operator} has no low-bit form for FINN"
    if node.operator == "Mul":
        yield _finding(
            "error", node, "a product of two activations has no low-bit form for FINN", "Leave the gate out."
        )
    else:
        yield _finding("warning" if last else "error", node, what, f"{REMEDIES.get(node.operator, RELU)}.")


def _convolution(graph: Graph, node: Node, caps: Caps, shapes: Shapes) -> Iterator[Finding]:
    weight = shapes.get(node.inputs[1], []) if node.operator == "Conv" else []
    if not weight:
        return
    groups, outputs, each = int(node.attributes.get("group", 1)), weight[0], weight[1]
    if len(weight) != 4:
        yield _finding(
            "error", node, f"a convolution over {len(weight) - 2} axes", "Write it as a 2-D one, [k, 1]."
        )
    if groups > 1 and (each != 1 or outputs != groups):
        form = f"{groups} groups, {outputs} outputs, {each} inputs a group"
        what = f"a grouped convolution ({form}); FINN has dense and depthwise ones, the latter one output a channel"
        yield _finding("error", node, what, "Use groups=1, or depthwise and then a 1x1 convolution.")
    if any(step > 1 for step in node.attributes.get("dilations", [])):
        what = "a dilated convolution: FINN estimates it, but its hardware was not tried"
        yield _finding("note", node, what, "Prefer a second 3x3 convolution.")
    if node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        yield _finding("warning", node, "padding that depends on the size", "Export explicit padding.")


def _weight(graph: Graph, node: Node, caps: Caps, shapes: Shapes) -> Iterator[Finding]:
    if node.operator in HEAVY and len(node.inputs) > 1 and is_data(graph, node.inputs[1]):
        what = f"{node.operator} multiplies two activations; FINN's weights are constants"
        yield _finding("error", node, what, "Keep attention off the FPGA.")


def _average(graph: Graph, node: Node, caps: Caps, shapes: Shapes) -> Iterator[Finding]:
    if node.operator not in AVERAGES:
        return
    size = shapes.get(node.inputs[0], [])
    if len(size) != 4 or (node.operator == "ReduceMean" and _axes(graph, node) != {2, 3}):
        yield _finding(
            "error", node, "an average over something else than height and width", "Pool images alone."
        )
        return
    kernel = node.attributes.get("kernel_shape", size[2:])
    square = len(set(kernel)) == 1 and len(set(node.attributes.get("strides", [1, 1]))) == 1
    if "kernel_shape" in node.attributes and (not square or any(node.attributes.get("pads", []))):
        what = f"an average over windows of {_by(kernel)}, padded or not square"
        yield _finding("error", node, what, "Use square windows without padding.")
    elif not square:
        what = f"an average over a map of {_by(kernel)}, which only {STEPS} take"
        yield _finding("warning", node, what, "Choose strides that leave a square map.")
    elif not all(taker.operator in QUANTIZERS for taker in graph.takers(node)):
        what = f"the average over {_by(kernel)} is floored to a grid, as FINN computes it"
        yield _finding("note", node, what, "Train at low bits, so that accuracy comes back.")


def _axes(graph: Graph, node: Node) -> set[int]:
    """The axes that a ReduceMean of images removes, given as an input since opset 18."""
    given = graph.value(node.inputs[1]) if len(node.inputs) > 1 else node.attributes.get("axes", [])
    return {int(axis) % 4 for axis in np.ravel([] if given is None else given)}


def _addition(graph: Graph, node: Node, caps: Caps, shapes: Shapes) -> Iterator[Finding]:
    if node.operator == "Add" and data_inputs(graph, node) > 1:
        what = f"a residual addition: FINN's default steps refuse forks, {STEPS} take them"
        yield _finding(
            "warning", node, what, "Build with finn-plus, or use a network without shortcuts (cnv)."
        )


def _sign(graph: Graph, node: Node, caps: Caps, shapes: Shapes) -> Iterator[Finding]:
    """A layer that reads what no ReLU has passed, other than the input."""
    maker = source(graph, node.inputs[0]) if node.operator in HEAVY else None
    if maker is None or maker.operator in AVERAGES | QUANTIZERS:
        return
    if maker.operator in ACTIVATIONS and (_lowest(graph, maker) or 0.0) >= 0.0:
        return
    what = f"its input has a sign: it comes from {maker.operator} '{maker.layer}' without a ReLU between"
    yield _finding(
        "warning", node, what, f"Put a ReLU behind '{maker.layer}', or accept a signed quantizer there."
    )


def _pooling(graph: Graph, node: Node, caps: Caps, shapes: Shapes) -> Iterator[Finding]:
    """A maximum of floats gets a quantizer, unless an activation follows, with which it changes places."""
    maker = source(graph, node.inputs[0]) if node.operator == "MaxPool" else None
    if maker is None or maker.operator in ACTIVATIONS | QUANTIZERS:
        return
    if all(taker.operator in ACTIVATIONS for taker in graph.takers(node)):
        return
    what = "it pools before the activation, so that a signed quantizer is put in front"
    yield _finding("warning", node, what, "Put the pooling behind the activation.")


def _lowest(graph: Graph, node: Node) -> float | None:
    """The lower end of a Clip; None without one, 0 for a Relu."""
    if node.operator != "Clip":
        return 0.0
    value = graph.value(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else None
    return None if value is None else float(value)


def _padding(graph: Graph, node: Node) -> bool:
    """Whether a node pads zeros right before convolutions, which take its widths over."""
    zeros = node.operator == "Pad" and node.attributes.get("mode", b"constant") == b"constant"
    return zeros and all(taker.operator == "Conv" for taker in graph.takers(node))


def _by(sizes: list[int | None]) -> str:
    return "x".join(str(size) for size in sizes)


def _shapes(model: onnx.ModelProto) -> Shapes:
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    found: Shapes = {
        value.name: [
            dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim
        ]
        for value in values
    }
    return {**found, **{item.name: list(item.dims) for item in model.graph.initializer}}


def _finding(severity: str, node: Node, what: str, remedy: str) -> Finding:
    return Finding(severity, node.name, node.layer, what, remedy)
