"""What an ONNX graph costs: parameters, multiply-accumulates, and the peak of its activations. Needs no
torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import onnx
from onnx import TensorProto, helper

from edgekit.change import Cost
from edgekit.errors import BadInput

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
WEIGHT_TYPES = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.DOUBLE,
        TensorProto.INT8,
        TensorProto.UINT8,
    }
)
CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "QLinearConv", "FusedConv", "NhwcFusedConv"})
PRODUCTS = frozenset(
    {
        "MatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QLinearMatMul",
        "Gemm",
        "QGemm",
        "FusedGemm",
        "FusedMatMul",
    }
)
Shapes = Mapping[str, tuple[int, ...]]


def graph_cost(model: onnx.ModelProto) -> Cost:
    """Parameters, MACs of one sample and bytes of an ONNX model; every free dimension counts as 1.

    Parameters are the float and 8-bit elements that convolutions, matrix products, additions and
    normalizations read (scales, zero points, statistics and shapes are none); a tensor that serves twice
    counts once.
    """
    shapes = tensor_shapes(model)
    parameters = list(_parameters(model.graph))
    return Cost(
        params=sum(math.prod(tensor.dims) for tensor in parameters),
        macs=sum(node_macs(node, shapes) for node in model.graph.node),
        bytes=sum(math.prod(tensor.dims) * _item_bytes(tensor.data_type) for tensor in parameters),
    )


def node_macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    """MACs of one node: outputs times the inputs that each sums over; 0 for operators without products."""
    kind = node.op_type
    if kind in CONVOLUTIONS:
        weight = shapes[node.input[3 if kind == "QLinearConv" else 1]]
        return math.prod(shapes[node.output[0]]) * math.prod(weight[1:])
    if kind == "ConvTranspose":
        return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
    if kind in PRODUCTS:
        left = shapes[node.input[0]]
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(shapes[node.output[0]]) * left[-2 if turned else -1]
    return 0


def peak_activation_bytes(model: onnx.ModelProto) -> int:
    """The largest sum of activations alive at once, running the nodes in the graph's order.

    A tensor lives from the node that makes it to its last reader (a graph input from the start, an output to
    the end); a node needs its inputs and outputs at once; Reshape, Flatten and the like share their input's
    memory.
    """
    owner = _buffers(model.graph)
    sizes = _buffer_bytes(model, owner)
    last = _last_use(model.graph, owner)
    alive = {owner[value.name] for value in model.graph.input if value.name in owner}
    peak = sum(sizes.get(name, 0) for name in alive)
    for index, node in enumerate(model.graph.node):
        alive |= {owner[name] for name in node.output if name in owner}
        peak = max(peak, sum(sizes.get(name, 0) for name in alive))
        alive = {name for name in alive if last.get(name, -1) > index}
    return peak


def tensor_shapes(model: onnx.ModelProto) -> Shapes:
    """Every tensor's shape by name, free dimensions set to 1; BadInput where a convolution's or product's is
    unknown.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if not dimension.HasField("dim_value"):
                dimension.dim_value = 1
    del fixed.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        shapes[value.name] = tuple(max(1, size.dim_value) for size in value.type.tensor_type.shape.dim)
    for node in graph.node:
        for name in (*node.input[:2], *node.output[:1]):
            if name and name not in shapes and node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
                raise BadInput(
                    f"cost: the shape of '{name}' at node {node.name or node.op_type} cannot be inferred. "
                    "Export the model with fixed sizes but for the batch."
                )
    return shapes


def _parameters(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Initializers that carry learned values, found through what reads them (directly or after
    DequantizeLinear).
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    learned = {
        "Conv": (1, 2),
        "FusedConv": (1, 2),
        "ConvTranspose": (1, 2),
        "ConvInteger": (1,),
        "QLinearConv": (3, 8),
        "Gemm": (1, 2),
        "MatMul": (0, 1),
        "MatMulInteger": (0, 1),
        "FusedMatMul": (0, 1),
        "QLinearMatMul": (0, 3),
        "Add": (0, 1),
        "Mul": (0, 1),
        "BatchNormalization": (1, 2),
        "LayerNormalization": (1, 2),
        "GroupNormalization": (1, 2),
        "InstanceNormalization": (1, 2),
        "PRelu": (1,),
        "Gather": (0,),
    }
    source = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type in ("DequantizeLinear", "QuantizeLinear", "Identity", "Transpose")
    }
    seen: set[str] = set()
    for node in graph.node:
        for place in learned.get(node.op_type, ()):
            name = node.input[place] if place < len(node.input) else ""
            while name in source:
                name = source[name]
            tensor = tensors.get(name)
            bias = place in (2, 8) and tensor is not None and tensor.data_type == TensorProto.INT32
            if tensor is not None and name not in seen and (bias or tensor.data_type in WEIGHT_TYPES):
                seen.add(name)
                yield tensor


def _buffers(graph: onnx.GraphProto) -> dict[str, str]:
    """Activation name to the name of the tensor whose memory it uses; constants have none."""
    constants = {tensor.name for tensor in graph.initializer}
    owner = {value.name: value.name for value in graph.input if value.name not in constants}
    for node in graph.node:
        fixed = node.op_type == "Constant" or all(name in constants for name in node.input if name)
        if fixed:
            constants.update(node.output)
            continue
        for name in filter(None, node.output):
            owner[name] = owner[node.input[0]] if node.op_type in VIEWS and node.input[0] in owner else name
    return owner


def _last_use(graph: onnx.GraphProto, owner: Mapping[str, str]) -> dict[str, int]:
    last: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in (*node.input, *node.output):
            if name in owner:
                last[owner[name]] = index
    for value in graph.output:
        if value.name in owner:
            last[owner[value.name]] = len(graph.node)
    return last


def _buffer_bytes(model: onnx.ModelProto, owner: Mapping[str, str]) -> dict[str, int]:
    shapes = tensor_shapes(model)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*inferred.input, *inferred.output, *inferred.value_info)
    }
    return {
        name: math.prod(shapes[name]) * _item_bytes(types.get(name, TensorProto.FLOAT))
        for name in set(owner.values())
        if name in shapes
    }


def _item_bytes(kind: int) -> int:
    return helper.tensor_dtype_to_np_dtype(kind).itemsize
