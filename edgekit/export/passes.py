"""Clean-up of fp32 ONNX graphs: what exporters leave behind that keeps a runtime from fusing.

Each pass is a function `(model) -> bool`, true where it changed something; `clean` runs them to a fixed point.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.export.graph import Graph, attribute, metadata

Pass = Callable[[onnx.ModelProto], bool]


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run every pass until none changes the graph; drop what is no longer read."""
    while sum(step(model) for step in PASSES):
        pass
    return model


def constants_to_initializers(model: onnx.ModelProto) -> bool:
    """Constant nodes become initializers."""
    constants = [
        node for node in model.graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"
    ]
    for node in constants:
        tensor = onnx.TensorProto()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        model.graph.initializer.append(tensor)
        model.graph.node.remove(node)
    return bool(constants)


def drop_identities(model: onnx.ModelProto) -> bool:
    """Identity and inference-time Dropout nodes vanish, unless they join an input to an output."""
    graph, changed = Graph(model), False
    for node in list(graph.nodes):
        if node.op_type in ("Identity", "Dropout") and node.output[0] not in graph.outputs:
            _rewire(model, node.output[0], node.input[0])
            model.graph.node.remove(node)
            changed = True
    return changed


def fold_pad_into_conv(model: onnx.ModelProto) -> bool:
    """A constant zero Pad over spatial dimensions becomes the padding of the convolution that alone reads it."""
    graph, changed = Graph(model), False
    for node in list(graph.nodes):
        conv = graph.sole_consumer(node.output[0]) if node.op_type == "Pad" else None
        pads = graph.constant(node.input[1]) if conv is not None and len(node.input) > 1 else None
        if conv is None or pads is None or conv.op_type != "Conv" or conv.input[0] != node.output[0]:
            continue
        rank = len(pads) // 2
        zero = len(node.input) < 3 or not node.input[2] or _is_zero(graph.constant(node.input[2]))
        constant = attribute(node, "mode", b"constant") == b"constant"
        spatial = not pads[:2].any() and not pads[rank : rank + 2].any() and (pads >= 0).all()
        if not (zero and constant and spatial) or attribute(conv, "auto_pad", b"NOTSET") not in (
            b"NOTSET",
            b"VALID",
        ):
            continue
        own = np.asarray(attribute(conv, "pads", [0] * (2 * (rank - 2))))
        total = own + np.concatenate([pads[2:rank], pads[rank + 2 :]])
        _set_attribute(conv, "pads", [int(value) for value in total])
        _set_attribute(conv, "auto_pad", "NOTSET")
        conv.input[0] = node.input[0]
        model.graph.node.remove(node)
        changed = True
    return changed


def spatial_mean_to_global_average_pool(model: onnx.ModelProto) -> bool:
    """ReduceMean over exactly the spatial dimensions becomes GlobalAveragePool (and Flatten without keepdims)."""
    graph, changed = Graph(model), False
    ranks = graph.ranks()
    for index, node in reversed(list(enumerate(graph.nodes))):
        rank = ranks.get(node.input[0], 0) if node.op_type == "ReduceMean" else 0
        axes = _axes(graph, node) if rank >= 3 else None
        if axes is None or sorted(axis % rank for axis in axes) != list(range(2, rank)):
            continue
        pooled = node.output[0] if attribute(node, "keepdims", 1) else node.output[0] + "_pooled"
        pool = helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name)
        pool.metadata_props.extend(node.metadata_props)
        made = [pool]
        if pooled != node.output[0]:
            made.append(
                helper.make_node("Flatten", [pooled], [node.output[0]], name=node.name + "_flatten", axis=1)
            )
        model.graph.node.remove(node)
        for offset, item in enumerate(made):
            model.graph.node.insert(index + offset, item)
        changed = True
    return changed


def fold_batchnorm(model: onnx.ModelProto) -> bool:
    """BatchNormalization folds into the Conv or Gemm that it alone reads."""
    graph, changed = Graph(model), False
    for node in list(graph.nodes):
        layer = graph.producer.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if layer is None or layer.op_type not in ("Conv", "Gemm") or len(node.output) > 1:
            continue
        numbers = [graph.constant(name) for name in [*layer.input[1:], *node.input[1:5]]]
        shared = any(len(graph.consumers[name]) > 1 for name in layer.input[1:])
        alone = len(graph.consumers[node.input[0]]) == 1 and node.input[0] not in graph.outputs
        if not alone or shared or any(value is None for value in numbers):
            continue
        _fold_one(model, layer, node, [np.asarray(value) for value in numbers])
        changed = True
        graph = Graph(model)
    return changed


def matmul_and_add_to_gemm(model: onnx.ModelProto) -> bool:
    """MatMul of a matrix by a constant one, and the Add of a constant bias that alone reads it, become one Gemm."""
    graph, changed = Graph(model), False
    ranks = graph.ranks()
    for node in list(graph.nodes):
        after = graph.sole_consumer(node.output[0]) if node.op_type == "MatMul" else None
        traced = "aten.matmul" in (metadata(node, "pkg.torch.onnx.fx_node") or "")  # two calls stay two sites
        if after is None or after.op_type != "Add" or ranks.get(node.input[0]) != 2 or traced:
            continue
        weight = graph.constant(node.input[1])
        name = next(name for name in after.input if name != node.output[0])
        bias = graph.constant(name)
        if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[1:]:
            continue
        node.op_type, node.output[0] = "Gemm", after.output[0]
        node.input.append(name)
        model.graph.node.remove(after)
        changed = True
    return changed


def drop_unread(model: onnx.ModelProto) -> bool:
    """Nodes, initializers and value infos that nothing reads vanish."""
    changed, removed = False, True
    while removed:
        graph = Graph(model)
        unread = [
            node
            for node in graph.nodes
            if not any(name in graph.outputs or graph.consumers.get(name) for name in node.output)
        ]
        for node in unread:
            model.graph.node.remove(node)
        removed = bool(unread)
        changed |= removed
    used = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
    for item in [item for item in model.graph.initializer if item.name not in used]:
        model.graph.initializer.remove(item)
        changed = True
    return changed


PASSES: tuple[Pass, ...] = (
    constants_to_initializers,
    drop_identities,
    fold_pad_into_conv,
    spatial_mean_to_global_average_pool,
    matmul_and_add_to_gemm,
    fold_batchnorm,
    drop_unread,
)


def _fold_one(
    model: onnx.ModelProto, layer: onnx.NodeProto, norm: onnx.NodeProto, numbers: list[np.ndarray]
) -> None:
    weight, *rest = numbers
    bias = rest[0] if len(rest) == 5 else None
    gamma, beta, mean, variance = rest[-4:]
    factor = gamma / np.sqrt(variance + np.float32(attribute(norm, "epsilon", 1e-5)))
    transposed = layer.op_type == "Conv" or bool(attribute(layer, "transB", 0))
    shape = [-1] + [1] * (weight.ndim - 1) if transposed else [1, -1]
    alpha, scale = (
        attribute(layer, name, 1.0) if layer.op_type == "Gemm" else 1.0 for name in ("alpha", "beta")
    )
    folded_bias = ((bias if bias is not None else 0.0) * np.float32(scale) - mean) * factor + beta
    _set_initializer(
        model, layer.input[1], (weight * np.float32(alpha) * factor.reshape(shape)).astype(weight.dtype)
    )
    name = layer.input[2] if bias is not None else layer.input[1] + "_bias"
    _set_initializer(model, name, folded_bias.astype(weight.dtype))
    if bias is None:
        layer.input.append(name)
    for option in ("alpha", "beta"):
        if layer.op_type == "Gemm":
            _set_attribute(layer, option, 1.0)
    layer.output[0] = norm.output[0]
    model.graph.node.remove(norm)


def _axes(graph: Graph, node: onnx.NodeProto) -> list[int] | None:
    value = graph.constant(node.input[1]) if len(node.input) > 1 else attribute(node, "axes")
    return None if value is None else [int(axis) for axis in np.asarray(value).reshape(-1)]


def _is_zero(value: np.ndarray | None) -> bool:
    return value is not None and not np.any(value)


def _rewire(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def _set_attribute(node: onnx.NodeProto, name: str, value: object) -> None:
    for item in [item for item in node.attribute if item.name == name]:
        node.attribute.remove(item)
    node.attribute.append(helper.make_attribute(name, value))


def _set_initializer(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
    for item in model.graph.initializer:
        if item.name == name:
            item.CopyFrom(tensor)
            return
    model.graph.initializer.append(tensor)
