"""The audit: what onnxruntime really runs in integers, read from the graph that its own optimizer writes."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import onnx

from edgekit.target import Audit, Finding
from targets.cpu.caps import MOVEMENT
from targets.cpu.diagnosis import diagnose
from targets.cpu.nodes import PAIRS, Graph, Node, match, read, unique_names
from targets.cpu.runtime import OrtRunner

INTEGER = frozenset(
    {
        "QGemm",
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM",
        "QAttention",
    }
)
INTEGER_TYPES = {onnx.TensorProto.UINT8, onnx.TensorProto.INT8}
FLOAT_TYPES = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
}
# Nodes that compute nothing on activations: layout, shapes, conversions.
LAYOUT = (
    MOVEMENT
    | PAIRS
    | {
        "Cast",
        "Constant",
        "ConstantOfShape",
        "Dropout",
        "DynamicQuantizeLinear",
        "Identity",
        "Pad",
        "Range",
        "ReorderInput",
        "ReorderOutput",
        "Shape",
        "Size",
        "SpaceToDepth",
        "Tile",
    }
    - {"MaxPool", "ReduceMax", "Resize"}
)


def audit(path: Path) -> Audit:
    """Load `path` as onnxruntime would run it here, and say what runs in integers, what not, why, and the
    remedy.

    A Q/DQ node is stray where it stands between two computations or dequantizes a weight at run time.
    BadInput where the file is broken or cannot be loaded.
    """
    path = Path(path)
    model = read(path)
    source, optimized = Graph(model), Graph(_optimized(path, model))
    kinds = _Kinds(optimized)
    compute = [node for node in optimized.nodes if kinds.computes(node)]
    integer = {node.name for node in compute if kinds.integer(node)}
    origin = match(source, optimized)
    placement = _placement(source, optimized, origin, kinds)
    findings = diagnose(source, optimized, placement)
    return Audit(
        float_compute_nodes=len(compute) - len(integer),
        stray_qdq=len(strays(optimized)),
        integer_compute_nodes=len(integer),
        nodes=dict(Counter(node.operator for node in optimized.nodes)),
        placement=placement,
        findings=tuple(sorted(findings, key=_order)),
    )


def strays(graph: Graph) -> list[Node]:
    """Q/DQ nodes other than the quantization of an input and the dequantization of an output."""
    return [
        node
        for node in graph.nodes
        if (node.operator == "QuantizeLinear" and not _from_input(graph, node))
        or (node.operator == "DequantizeLinear" and not _to_output(graph, node))
    ]


def _from_input(graph: Graph, node: Node) -> bool:
    maker = graph.maker(node.inputs[0])
    if maker is None:
        return node.inputs[0] in graph.inputs
    return maker.operator in LAYOUT - PAIRS and _from_input(graph, maker)


def _to_output(graph: Graph, node: Node) -> bool:
    if node.operator == "DequantizeLinear" and node.inputs[0] in graph.initializers:
        return False
    takers = graph.takers(node)
    return all(taker.operator in LAYOUT - PAIRS and _to_output(graph, taker) for taker in takers) and (
        bool(takers) or any(name in graph.outputs for name in node.outputs)
    )


def named_file(path: Path, model: onnx.ModelProto, folder: Path) -> Path:
    """The file, or a copy in `folder` whose nodes have names where some had none of their own."""
    names = unique_names(model.graph.node)
    if all(proto.name == name for proto, name in zip(model.graph.node, names, strict=True)):
        return path
    named = onnx.ModelProto()
    named.CopyFrom(model)
    for proto, name in zip(named.graph.node, names, strict=True):
        proto.name = name
    copy = folder / "named.onnx"
    onnx.save(named, copy, save_as_external_data=named.ByteSize() > 2**30, location="named.data")
    return copy


def _optimized(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxruntime's own graph of the file; nodes without a name of their own are given one beforehand."""
    with tempfile.TemporaryDirectory(prefix="edgekit-audit-") as folder:
        OrtRunner(named_file(path, model, Path(folder)), optimized_path=Path(folder) / "optimized.onnx")
        return onnx.load(Path(folder) / "optimized.onnx", load_external_data=False)


def _placement(source: Graph, optimized: Graph, origin: dict[str, Node], kinds: _Kinds) -> dict[str, str]:
    placed = {node.name: "moved away" for node in source.compute()}
    for node in optimized.nodes:
        if node.name in origin:
            placed[origin[node.name].name] = "integer" if kinds.integer(node) else "float"
    return placed


def _order(finding: Finding) -> int:
    return ("error", "warning", "note").index(finding.severity)


class _Kinds:
    """Whether each tensor of a graph is "float", "int8" or "other" (shapes, indices, masks)."""

    def __init__(self, graph: Graph) -> None:
        self._of = {name: _kind(proto.data_type) for name, proto in graph.initializers.items()}
        self._of |= {name: _kind(value.type.tensor_type.elem_type) for name, value in graph.inputs.items()}
        for node in graph.nodes:
            self._of |= {name: self._made_by(node, index) for index, name in enumerate(node.outputs)}

    def integer(self, node: Node) -> bool:
        """Whether a node computes on 8-bit integers, or moves them."""
        if node.operator in INTEGER or node.operator.startswith("QLinear"):
            return True
        return node.operator not in PAIRS and self.data(node) == "int8"

    def computes(self, node: Node) -> bool:
        """Whether a node does arithmetic on activations, in either form."""
        if node.operator in LAYOUT:
            return False
        return node.operator in INTEGER or node.operator.startswith("QLinear") or self.data(node) != "other"

    def data(self, node: Node) -> str:
        """The kind of the tensor that a node works on."""
        position = 1 if node.operator == "Where" else 0
        name = node.inputs[position] if len(node.inputs) > position else ""
        return self._of.get(name, "other")

    def _made_by(self, node: Node, index: int) -> str:
        if node.operator == "QuantizeLinear" or (node.operator == "DynamicQuantizeLinear" and index == 0):
            return "int8"
        if node.operator in ("DequantizeLinear", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"):
            return "float"
        if node.operator == "QGemm":
            return "int8" if len(node.inputs) > 8 and node.inputs[8] else "float"
        if node.operator.startswith("QLinear"):
            return "int8"
        if node.operator in ("Cast", "ConstantOfShape"):
            return _kind(int(node.attributes.get("to", onnx.TensorProto.FLOAT)))
        if node.operator in (
            "Shape",
            "Size",
            "ConvInteger",
            "MatMulInteger",
            "ArgMax",
            "ArgMin",
            "Equal",
            "Greater",
            "Less",
            "NonZero",
        ):
            return "other"
        return self.data(node)


def _kind(data_type: int) -> str:
    return "int8" if data_type in INTEGER_TYPES else "float" if data_type in FLOAT_TYPES else "other"
