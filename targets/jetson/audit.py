"""The audit for TensorRT: what NVIDIA's own builder runs in integers, or what its rules say where it is not here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx

from edgekit.errors import BadInput
from edgekit.export.graph import Graph, layer_of
from edgekit.target import Audit, Finding
from targets.jetson.builder import Built, build
from targets.jetson.forms import PAIRS, wrong_forms
from targets.jetson.layers import Layer

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
NEWEST = 24


def audit(path: Path, *, newest_opset: int = NEWEST) -> Audit:
    """Build `path` where NVIDIA's builder is at hand, and say what runs in int8, what not and why.

    BadInput where the file is no ONNX file.
    """
    path = Path(path)
    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise BadInput(f"{path}: it is no ONNX file, or is cut off. Export it again.") from error
    graph = Graph(model)
    findings = wrong_forms(model, newest_opset=newest_opset)
    built = build(path)
    if isinstance(built, str):
        return _by_rules(
            graph, [*findings, Finding("note", "", "", built, "The counts follow TensorRT's rules alone.")]
        )
    findings += [
        Finding(
            "error", node, "", f"NVIDIA's parser refuses the file: {reason}", "Replace the operator it names."
        )
        for node, reason in built.refused
    ]
    return _by_layers(graph, built, findings)


def _by_layers(graph: Graph, built: Built, findings: list[Finding]) -> Audit:
    placement = dict(_places(graph, built))
    floats = [node for node in _compute(graph) if placement.get(node.name) == "float"]
    findings += [_why_float(graph, node) for node in floats if node.op_type in HEAVY]
    stray = [layer for layer in built.layers if layer.takes_integers and _only_pairs(graph, layer.sources)]
    note = f"built by {built.by}, whose layers follow TensorRT 11; the board's own build may fuse otherwise"
    findings.append(Finding("note", "", "", note, "Run board/measure.py on the board for its own layers."))
    return Audit(
        float_compute_nodes=len(floats),
        stray_qdq=len(stray),
        integer_compute_nodes=sum(place == "integer" for place in placement.values()),
        nodes=dict(Counter(layer.kind for layer in built.layers)),
        placement=placement,
        findings=tuple(sorted(findings, key=_order)),
    )


def _by_rules(graph: Graph, findings: list[Finding]) -> Audit:
    placement = {node.name: "integer" if _dequantized(graph, node) else "float" for node in _compute(graph)}
    floats = [node for node in _compute(graph) if placement[node.name] == "float"]
    findings += [_why_float(graph, node) for node in floats if node.op_type in HEAVY]
    return Audit(
        float_compute_nodes=len(floats),
        stray_qdq=0,
        integer_compute_nodes=len(placement) - len(floats),
        nodes=dict(Counter(node.op_type for node in graph.nodes)),
        placement=placement,
        findings=tuple(sorted(findings, key=_order)),
    )


def _places(graph: Graph, built: Built) -> Iterator[tuple[str, str]]:
    """Where each node with weights, addition and pooling runs, by the layers that name it."""
    known = {node.name: node for node in graph.nodes}
    for node in _compute(graph):
        named = [layer for layer in built.layers if node.name in layer.sources]
        if any(layer.takes_integers for layer in named):
            yield node.name, "integer"
        elif node.op_type not in HEAVY and (
            not named or any(_with_more(known, layer, node) for layer in named)
        ):
            yield node.name, "moved away"  # into the kernel of its neighbours, which rounds after it
        else:
            yield node.name, "float"


def _with_more(known: dict[str, onnx.NodeProto], layer: Layer, node: onnx.NodeProto) -> bool:
    """Whether a kernel does more than this node: it rounds the result, too, or computes another node."""
    return any(name != node.name and name in known and _is_work(known[name], node) for name in layer.sources)


def _is_work(other: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    return other.op_type == "QuantizeLinear" or (other.op_type not in PAIRS and other.name != node.name)


def _compute(graph: Graph) -> list[onnx.NodeProto]:
    kinds = HEAVY | {"Add", "AveragePool", "GlobalAveragePool", "MaxPool"}
    return [node for node in graph.nodes if node.op_type in kinds and node.name]


def _dequantized(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether the inputs that count come from DequantizeLinear: the weight too, of an addition one at least."""
    makers = [graph.producer.get(name) for name in node.input[: 2 if node.op_type in HEAVY | {"Add"} else 1]]
    given = [maker is not None and maker.op_type == "DequantizeLinear" for maker in makers]
    return any(given) if node.op_type == "Add" else all(given)


def _only_pairs(graph: Graph, sources: tuple[str, ...]) -> bool:
    """Whether a layer does nothing but quantize or dequantize between two others."""
    known = {node.name: node for node in graph.nodes}
    nodes = [known[name] for name in sources if name in known]
    inner = [
        node for node in nodes if node.input[0] not in graph.inputs and node.output[0] not in graph.outputs
    ]
    return (
        bool(inner)
        and len(inner) == len(nodes) == len(sources)
        and all(node.op_type in PAIRS for node in nodes)
    )


def _why_float(graph: Graph, node: onnx.NodeProto) -> Finding:
    absent = [
        what
        for what, name in zip(("input", "weight"), node.input, strict=False)
        if (maker := graph.producer.get(name)) is None or maker.op_type != "DequantizeLinear"
    ]
    if absent:
        what = f"it runs in float: its {' and its '.join(absent)} {'has' if len(absent) == 1 else 'have'} no Q/DQ pair"
        return Finding("warning", node.name, layer_of(node), what, "Quantize it, or drop it from exclude.")
    what = f"it runs in float between Q/DQ pairs: the builder has no int8 kernel for this {node.op_type}"
    return Finding(
        "warning", node.name, layer_of(node), what, "Compare with fp16 on the board; exclude it if faster."
    )


def _order(finding: Finding) -> tuple[int, str]:
    return ("error", "warning", "note").index(finding.severity), finding.node
