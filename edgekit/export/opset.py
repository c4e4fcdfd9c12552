"""Writing a graph for an older operator set: the same nodes, where an older one means the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from edgekit.errors import BadInput
from edgekit.export.graph import Graph, layer_of

OLDEST = 13  # per-channel DequantizeLinear
IR_VERSIONS = (
    (13, 7),
    (15, 8),
    (18, 8),
    (20, 9),
    (22, 10),
)  # (newest operator set, file format it came with)

# Operators that later sets gave more types, and attributes whose default is the old meaning: {name: default; None:
# all ones}. ONNX changelog, operator sets 14 to 24.
SAME = frozenset(
    {
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Relu",
        "Identity",
        "Flatten",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Constant",
    }
    | {
        "ConstantOfShape",
        "Size",
        "Equal",
        "Pow",
        "Where",
        "LeakyRelu",
        "PRelu",
        "Conv",
        "ConvTranspose",
        "MaxPool",
    }
    | {"GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Dropout", "Elu", "Selu", "Softplus"}
    | {
        "Cast",
        "Shape",
        "Reshape",
        "QuantizeLinear",
        "DequantizeLinear",
        "AveragePool",
        "Resize",
        "Pad",
        "Split",
    }
    | {"BatchNormalization", "DepthToSpace", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1"}
    | {"ReduceL2", "ReduceSumSquare"}
)
DEFAULTS: Mapping[str, object] = {
    "saturate": 1,
    "round_mode": b"up",
    "start": 0,
    "allowzero": 0,
    "block_size": 0,
    "output_dtype": 0,
    "precision": 0,
    "antialias": 0,
    "keep_aspect_ratio_policy": b"stretch",
    "training_mode": 0,
    "dilations": None,
}


def to_opset(model: onnx.ModelProto, newest: int, *, oldest: int = OLDEST) -> onnx.ModelProto:
    """A copy in the oldest operator set from `oldest` on that says the same, with a file format of its time.

    BadInput names the operator that needs a set past `newest`.
    """
    reason = None
    for version in range(oldest, newest + 1):
        made, reason = _as(model, version)
        if made is not None:
            return made
    raise BadInput(f"export: {reason}; this board's runtime reads operator sets up to {newest}. {_INSTEAD}")


_INSTEAD = "Replace the operator in the model, or name a board with a newer JetPack or runtime."


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a file uses."""
    return next(int(item.version) for item in model.opset_import if item.domain in ("", "ai.onnx"))


def _as(model: onnx.ModelProto, version: int) -> tuple[onnx.ModelProto | None, str | None]:
    """The model in a version, or why it cannot be said there."""
    made, now = onnx.ModelProto(), opset_of(model)
    made.CopyFrom(model)
    graph = Graph(made)
    for node in made.graph.node if version < now else ():
        if node.domain in ("", "ai.onnx") and not _says(made, graph, node, version, now):
            where = f" '{layer_of(node)}'" if layer_of(node) else ""
            return (
                None,
                f"{node.op_type}{where} has another meaning, or none, before operator set {version + 1}",
            )
    made.opset_import[0].CopyFrom(helper.make_opsetid("", min(version, now)))
    made.ir_version = min(made.ir_version, next(ir for newest, ir in IR_VERSIONS if version <= newest))
    return made, None


def _says(model: onnx.ModelProto, graph: Graph, node: onnx.NodeProto, version: int, now: int) -> bool:
    """Whether a node says the same in an older version, perhaps after it is rewritten."""
    try:
        old, new = (defs.get_schema(node.op_type, wanted).since_version for wanted in (version, now))
    except defs.SchemaError:
        return False
    if old == new:
        return True
    changed, rewrite = REWRITE.get(node.op_type, (0, None))
    if rewrite is not None and old < changed <= new and not rewrite(model, graph, node):
        return False
    return node.op_type in SAME and _drop_defaults(node, defs.get_schema(node.op_type, version))


def _drop_defaults(node: onnx.NodeProto, old: defs.OpSchema) -> bool:
    """Drop the attributes that the old operator has not; False where one is not at its old meaning."""
    if len([name for name in node.input if name]) > old.max_input:
        return False
    for item in [item for item in node.attribute if item.name not in old.attributes]:
        value, usual = helper.get_attribute_value(item), DEFAULTS.get(item.name, math.nan)
        if value != usual and not (usual is None and isinstance(value, list) and set(value) == {1}):
            return False
        node.attribute.remove(item)
    return True


def _axes_as_attribute(model: onnx.ModelProto, graph: Graph, node: onnx.NodeProto) -> bool:
    """Reductions had their axes as an attribute before operator set 18."""
    axes = graph.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else None
    if axes is None and len(node.input) > 1 and node.input[1]:
        return False
    for item in [item for item in node.attribute if item.name == "noop_with_empty_axes"]:
        if item.i:
            return False
        node.attribute.remove(item)
    if axes is not None:
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))
    del node.input[1:]
    return True


def _split_sizes(model: onnx.ModelProto, graph: Graph, node: onnx.NodeProto) -> bool:
    """Before operator set 18 a Split without sizes was into equal parts alone, so sizes are written."""
    for item in [item for item in node.attribute if item.name == "num_outputs"]:
        node.attribute.remove(item)
        axis = next((part.i for part in node.attribute if part.name == "axis"), 0)
        shape = graph.shapes().get(node.input[0])
        whole = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
        if not isinstance(whole, int) or whole < 1:
            return False
        part = -(-whole // item.i)
        sizes = [part] * (item.i - 1) + [whole - part * (item.i - 1)]
        name = f"{node.output[0]}_sizes"
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(sizes, np.int64), name))
        node.input.append(name)
    return True


def _plain_shape(model: onnx.ModelProto, graph: Graph, node: onnx.NodeProto) -> bool:
    """A Reshape to known sizes without a 0 says the same with and without `allowzero`, new in operator set 14."""
    shape = graph.constant(node.input[1])
    for item in [item for item in node.attribute if item.name == "allowzero"]:
        if item.i and (shape is None or 0 in shape):
            return False
        node.attribute.remove(item)
    return True


_REDUCTIONS = (
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
)
# {operator: (the operator set that changed it, how the old form is written)}
REWRITE: Mapping[str, tuple[int, Callable[[onnx.ModelProto, Graph, onnx.NodeProto], bool]]] = {
    **dict.fromkeys(_REDUCTIONS, (18, _axes_as_attribute)),
    "Split": (18, _split_sizes),
    "Reshape": (14, _plain_shape),
}
