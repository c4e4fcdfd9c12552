"""An index over an onnx.ModelProto: who makes a tensor, who reads it, which are constants, and each node's site."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

SITE_KEY, LAYER_KEY = "edgekit.site", "edgekit.layer"

OPERATION = {
    "Conv": "conv",
    "ConvTranspose": "conv_transpose",
    "Gemm": "linear",
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Concat": "cat",
    "Relu": "relu",
    "Clip": "clip",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "LeakyRelu": "leaky_relu",
    "MaxPool": "max_pool",
    "AveragePool": "avg_pool",
    "GlobalAveragePool": "mean",
    "ReduceMean": "mean",
    "Softmax": "softmax",
    "Resize": "resize",
    "MatMul": "matmul",
    "Tanh": "tanh",
    "Elu": "elu",
    "PRelu": "prelu",
    "Gelu": "gelu",
    "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "GroupNormalization": "group_norm",
}


class Graph:
    """Look-ups over one graph; rebuild after changing it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.nodes = model, model.graph.node
        self.producer = {output: node for node in self.nodes for output in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.consumers[name].append(node)
        self.initializers = {item.name: item for item in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.inputs = [value.name for value in model.graph.input if value.name not in self.initializers]

    def constant(self, name: str) -> np.ndarray | None:
        """The value of an initializer, or None."""
        item = self.initializers.get(name)
        return None if item is None else numpy_helper.to_array(item)

    def sole_consumer(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads a tensor, or None where there are more, none, or it is a model output."""
        readers = self.consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def shapes(self) -> dict[str, list[int | None]]:
        """The shape of every tensor that has one; None for a dimension that is free."""
        values = [*self.model.graph.value_info, *self.model.graph.input, *self.model.graph.output]
        shapes: dict[str, list[int | None]] = {
            value.name: [
                dim.dim_value if dim.HasField("dim_value") else None
                for dim in value.type.tensor_type.shape.dim
            ]
            for value in values
            if value.type.tensor_type.HasField("shape")
        }
        return {**shapes, **{name: list(item.dims) for name, item in self.initializers.items()}}

    def ranks(self) -> dict[str, int]:
        """The number of dimensions of every tensor whose shape is known."""
        return {name: len(shape) for name, shape in self.shapes().items()}


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value, or the default."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def metadata(node: onnx.NodeProto, key: str) -> str | None:
    """A node's metadata entry."""
    return next((item.value for item in node.metadata_props if item.key == key), None)


def set_metadata(node: onnx.NodeProto, key: str, value: str) -> None:
    """Set a node's metadata entry."""
    for item in node.metadata_props:
        if item.key == key:
            item.value = value
            return
    node.metadata_props.add(key=key, value=value)


def layer_of(node: onnx.NodeProto) -> str:
    """The source layer of a node: its module path from the exporter, else its own name."""
    layer = metadata(node, LAYER_KEY)
    if layer is not None:
        return layer
    scopes = metadata(node, "pkg.torch.onnx.name_scopes")
    if scopes is None:
        return node.name
    path = ast.literal_eval(scopes)
    return re.sub(r"@\d+", "", path[-2]) if len(path) > 1 else ""


def mark_sites(nodes: Iterable[onnx.NodeProto]) -> None:
    """Write its layer on every node, and `module/operation#call`: calls are counted in their module, in order."""
    seen: dict[tuple[str, str], int] = defaultdict(int)
    for node in nodes:
        layer, operation, more = layer_of(node), _operation(node), _is_bias(node)
        del node.metadata_props[:]  # the exporter's notes hold paths of this machine, and weigh
        set_metadata(node, LAYER_KEY, layer)
        if operation is not None:
            seen[layer, operation] += not more
            set_metadata(node, SITE_KEY, f"{layer}/{operation}#{seen[layer, operation] - 1}")


def _operation(node: onnx.NodeProto) -> str | None:
    operation = OPERATION.get(node.op_type)
    source = metadata(node, "pkg.torch.onnx.fx_node") or ""
    if (
        "aten.linear" in source
    ):  # a 3-d linear becomes MatMul and Add: one call, the weight's and the result's
        return "linear" if node.op_type in ("Gemm", "MatMul", "Add") else None
    if "aten.group_norm" in source:  # reshape, normalize, reshape, scale, shift
        return "group_norm" if node.op_type == "Add" else None
    return operation


def _is_bias(node: onnx.NodeProto) -> bool:
    return node.op_type == "Add" and "aten.linear" in (metadata(node, "pkg.torch.onnx.fx_node") or "")
