"""An ONNX graph as its reader needs it: who makes and takes each tensor, which layer a node is of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from edgekit.errors import BadInput
from edgekit.export import file

PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
# Relatives by what they compute: onnxruntime turns MatMul + Add into Gemm.
FAMILIES = {
    "MatMul": "Gemm",
    "FusedMatMul": "Gemm",
    "FusedGemm": "Gemm",
    "FusedConv": "Conv",
    "NhwcFusedConv": "Conv",
    "ConvInteger": "Conv",
    "QGemm": "Gemm",
    "MatMulInteger": "Gemm",
    "MatMulIntegerToFloat": "Gemm",
    "DynamicQuantizeMatMul": "Gemm",
    "MatMulNBits": "Gemm",
    "NhwcMaxPool": "MaxPool",
    "GlobalAveragePool": "GlobalAveragePool",
}
HEAVY = frozenset({"Conv", "Gemm", "ConvTranspose"})
SEARCH_DEPTH = 6


@dataclass(eq=False)
class Node:
    """A node with a name of its own, and the layer of the source network that it came from."""

    name: str
    operator: str
    domain: str
    layer: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The ONNX operator that this node computes, whatever its form (QLinearConv -> Conv)."""
        plain = self.operator.removeprefix("QLinear")
        return FAMILIES.get(plain, plain)


class Graph:
    """The top-level graph of an onnx.ModelProto, read only."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.opset = next(
            (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0
        )
        self.nodes = [
            _node(proto, name) for proto, name in zip(graph.node, unique_names(graph.node), strict=True)
        ]
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.initializers |= {
            proto.output[0]: proto.attribute[0].t
            for proto in graph.node
            if proto.op_type == "Constant" and proto.attribute[0].name == "value"
        }
        self.inputs = {value.name: value for value in graph.input if value.name not in self.initializers}
        self.outputs = [value.name for value in graph.output]
        self.producer = {name: node for node in self.nodes for name in node.outputs if name}
        self.consumers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                self.consumers.setdefault(name, []).append(node)
        self.by_name = {node.name: node for node in self.nodes}

    def compute(self) -> list[Node]:
        """The nodes that are neither Q/DQ pairs nor constants."""
        return [node for node in self.nodes if node.operator not in PAIRS and node.operator != "Constant"]

    def maker(self, tensor: str) -> Node | None:
        """The node that makes a tensor, or None for an input, an initializer or an absent one."""
        return self.producer.get(tensor)

    def takers(self, node: Node) -> list[Node]:
        """Every node that takes an output of `node`, once for each use."""
        return [taker for name in node.outputs for taker in self.consumers.get(name, [])]

    def value(self, tensor: str) -> Any:
        """The constant behind a tensor as an array, or None."""
        proto = self.initializers.get(tensor)
        return (
            None
            if proto is None or proto.data_location == onnx.TensorProto.EXTERNAL
            else numpy_helper.to_array(proto)
        )

    def kind(self, tensor: str) -> int | None:
        """The ONNX data type of a constant, or None."""
        return self.initializers[tensor].data_type if tensor in self.initializers else None


def read(path: Path, *, weights: bool = True) -> onnx.ModelProto:
    """An ONNX file; BadInput where it is absent, broken, or its external weights are missing."""
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file. Check the path.")
    model = file.read(path, weights=weights)
    if not model.graph.node:
        raise BadInput(f"{path}: the graph has no nodes. Export it again.")
    return model


def unique_names(protos: Sequence[Any]) -> list[str]:
    """A name for every node: its own where no earlier node has it, else operator and position."""
    taken: set[str] = set()
    names = []
    for index, proto in enumerate(protos):
        name = proto.name if proto.name and proto.name not in taken else f"{proto.op_type}_{index}"
        while name in taken:
            name += "_"
        taken.add(name)
        names.append(name)
    return names


def layer_of(proto: Any) -> str:
    """The source layer: edgekit's own mark, else torch's module path, else the node's name."""
    facts: dict[str, str] = {entry.key: entry.value for entry in proto.metadata_props}
    for key in ("edgekit.layer", "edgekit.site"):
        if facts.get(key):
            return facts[key]
    scopes = _scopes(facts.get("pkg.torch.onnx.name_scopes", "[]"))
    return next((scope for scope in (*scopes[-2::-1], *scopes[-1:]) if scope), proto.name)


def _scopes(text: str) -> list[str]:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return []
    return [str(scope) for scope in found] if isinstance(found, list) else []


def _node(proto: Any, name: str) -> Node:
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in proto.attribute}
    return Node(
        name,
        proto.op_type,
        proto.domain,
        layer_of(proto) or name,
        list(proto.input),
        list(proto.output),
        attributes,
    )


def plain(name: str) -> str:
    """A name without what onnxruntime's optimizer adds to it."""
    previous = ""
    while previous != name:
        previous, name = (
            name,
            re.sub(
                r"(_token_\d+|_nchwc|_nhwc|/duplicated|/MatMulAddFusion|_fused)$",
                "",
                name.removeprefix("fused "),
            ),
        )
    return name


def match(source: Graph, optimized: Graph) -> dict[str, Node]:
    """Which source node each node of onnxruntime's optimized graph stands for, by the optimized node's name.

    onnxruntime keeps a node's name, or names a fused one after its last tensor; what neither tells is
    matched by family, in order.
    """
    found: dict[str, Node] = {}
    left = {node.name for node in source.compute()}
    for node in optimized.compute():
        origin = _by_name(source, node, left) or _by_tensor(source, node, left)
        if origin is not None:
            found[node.name] = origin
            left.discard(origin.name)
    for node in optimized.compute():
        if node.name not in found and node.family in HEAVY:
            origin = next(
                (item for item in source.compute() if item.name in left and item.family == node.family), None
            )
            if origin is not None:
                found[node.name] = origin
                left.discard(origin.name)
    return found


def _by_name(source: Graph, node: Node, left: set[str]) -> Node | None:
    for name in (node.name, plain(node.name)):
        origin = source.by_name.get(name)
        if (
            origin is not None
            and name in left
            and (origin.family == node.family or origin.family not in HEAVY)
        ):
            return origin
    return None


def _by_tensor(source: Graph, node: Node, left: set[str]) -> Node | None:
    """Walk back from the tensor that the node makes to the nearest source node of its family."""
    tensors = [plain(name) for name in (*node.outputs, node.name)]
    front = [source.producer[name] for name in tensors if name in source.producer]
    for _ in range(SEARCH_DEPTH):
        for candidate in front:
            if candidate.family == node.family and candidate.name in left:
                return candidate
        front = [maker for item in front for maker in _makers(source, item)]
    return None


def _makers(source: Graph, node: Node) -> Iterator[Node]:
    return (source.producer[name] for name in node.inputs if name in source.producer)


def layers_of(path: Path, names: Iterable[str]) -> dict[str, str]:
    """The source layer of each name in onnxruntime's profile of the file, where one is found."""
    source = Graph(read(path, weights=False))
    tensors = {name: node for name, node in source.producer.items() if node.operator not in PAIRS}
    layers = {}
    for name in names:
        node = source.by_name.get(plain(name)) or tensors.get(plain(name))
        if node is not None:
            layers[name] = _anchor(source, node, plain(name)).layer
    return layers


def _anchor(source: Graph, node: Node, tensor: str) -> Node:
    """The convolution behind an activation whose tensor onnxruntime named a fused convolution after."""
    while node.operator in ("Relu", "Clip", "Add", "BatchNormalization") and tensor in node.outputs:
        maker = source.maker(node.inputs[-1 if node.operator == "Add" else 0])
        if maker is None:
            break
        node, tensor = maker, next(iter(maker.outputs), "")
    return node
