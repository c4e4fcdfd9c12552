"""The one writer of QuantizeLinear/DequantizeLinear pairs around a fused fp32 graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.errors import BadInput
from edgekit.export.graph import SITE_KEY, Graph, attribute, metadata, set_metadata
from edgekit.quant.placement import MOVING, WEIGHTED, site_of, weight_axis
from edgekit.quant.quantization import Quantization, Scale
from edgekit.quant.site import Site
from edgekit.target import Caps


def write_qdq(model: onnx.ModelProto, quantization: Quantization, caps: Caps) -> onnx.ModelProto:
    """A copy of `model` in which every site of `quantization` is quantized.

    Activations: x -> QuantizeLinear -> DequantizeLinear -> every reader. Weights are stored as integers with a
    DequantizeLinear per output channel; the bias as int32 with scale = scale_x * scale_w where the caps ask for it.
    Raises BadInput naming a site that the graph does not have.
    """
    written = onnx.ModelProto()
    written.CopyFrom(model)
    _raise_opset(written)
    graph = Graph(written)
    scales = _tensor_scales(graph, quantization)
    weights = _weight_scales(graph, quantization)
    nodes: list[onnx.NodeProto] = []
    for name in graph.inputs:
        nodes += _pair(written, name, scales.get(name))
    for node in graph.nodes:
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        if node.op_type in WEIGHTED:
            nodes += _weight(written, graph, changed, weights, scales, caps)
        _read_dequantized(changed, scales)
        nodes.append(changed)
        for name in node.output:
            nodes += _output_pair(written, graph, changed, name, scales.get(name))
    del written.graph.node[:]
    written.graph.node.extend(nodes)
    _drop_unread_initializers(written)
    return written


def written_sites(model: onnx.ModelProto) -> set[Site]:
    """The sites whose pairs a written file carries (pairs that only hand a scale on are not sites)."""
    marks = (
        metadata(node, SITE_KEY)
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    )
    return {Site.parse(mark) for mark in marks if mark is not None}


def _tensor_scales(graph: Graph, quantization: Quantization) -> dict[str, tuple[Scale, Site | None]]:
    """Every tensor that gets a pair: (its scale, its site, or None where it follows the tensor before it)."""
    tensors: dict[str, tuple[Scale, Site | None]] = {}
    wanted = dict(quantization.activations)
    for index, name in enumerate(graph.inputs):
        site = Site("", "input", index, f"input:{name}")
        if site in wanted:
            tensors[name] = (wanted.pop(site), site)
    for node in graph.nodes:
        site = site_of(node)
        if site in wanted:
            tensors[node.output[0]] = (wanted.pop(site), site)
        elif node.op_type in MOVING and node.input[0] in tensors and graph.consumers.get(node.output[0]):
            tensors[node.output[0]] = (tensors[node.input[0]][0], None)
    if wanted:
        raise BadInput(
            f"quantize: the graph has no site {next(iter(wanted))}. The model is not the one the "
            "quantization was made for; quantize it again."
        )
    return tensors


def _pair(
    model: onnx.ModelProto, name: str, entry: tuple[Scale, Site | None] | None, *, source: str | None = None
) -> list[onnx.NodeProto]:
    if entry is None:
        return []
    scale, site = entry
    scale_name, zero_name = _parameters(model, name, scale)
    quantize = helper.make_node(
        "QuantizeLinear",
        [source or name, scale_name, zero_name],
        [f"{name}_quantized"],
        name=f"{name}_QuantizeLinear",
    )
    dequantize = helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", scale_name, zero_name],
        [_dequantized(name)],
        name=f"{name}_DequantizeLinear",
    )
    if site is not None:
        set_metadata(quantize, SITE_KEY, str(site))
    return [quantize, dequantize]


def _output_pair(
    model: onnx.ModelProto,
    graph: Graph,
    node: onnx.NodeProto,
    name: str,
    entry: tuple[Scale, Site | None] | None,
) -> list[onnx.NodeProto]:
    if entry is None or name not in graph.outputs:
        return _pair(model, name, entry)
    raw = f"{name}_float"  # the model output keeps its name, behind a pair of its own
    node.output[list(node.output).index(name)] = raw
    quantize, inner = _pair(model, name, entry, source=raw)
    outer = helper.make_node("DequantizeLinear", inner.input, [name], name=f"{inner.name}_output")
    return [quantize, inner, outer] if graph.consumers.get(name) else [quantize, outer]


def _dequantized(name: str) -> str:
    return f"{name}_dequantized"


def _read_dequantized(node: onnx.NodeProto, scales: dict[str, tuple[Scale, Site | None]]) -> None:
    for index, name in enumerate(node.input):
        if name in scales:
            node.input[index] = _dequantized(name)


def _weight_scales(graph: Graph, quantization: Quantization) -> dict[str, tuple[Scale, Site, int]]:
    """(scale, site, axis) of every weight that is stored in integers: one a tensor, however many calls share it."""
    weights: dict[str, tuple[Scale, Site, int]] = {}
    for node in graph.nodes:
        site = site_of(node, "weight")
        if (
            node.op_type in WEIGHTED
            and site in quantization.weights
            and graph.constant(node.input[1]) is not None
        ):
            weights.setdefault(node.input[1], (quantization.weights[site], site, weight_axis(node)))
    return weights


def _weight(
    model: onnx.ModelProto,
    graph: Graph,
    node: onnx.NodeProto,
    weights: dict[str, tuple[Scale, Site, int]],
    scales: dict[str, tuple[Scale, Site | None]],
    caps: Caps,
) -> list[onnx.NodeProto]:
    name, made = node.input[1], []
    if name not in weights:
        return []
    scale, site, axis = weights[name]
    if _readers(graph, name)[0].name == node.name:
        made.append(_stored(model, name, np.asarray(graph.constant(name)), scale, axis, site))
    node.input[1] = _dequantized(name)
    bias = graph.constant(node.input[2]) if len(node.input) > 2 else None
    entry = scales.get(node.input[0])
    if bias is not None and entry is not None and caps.bias == "int32" and _plain(node):
        alone = (
            len(graph.consumers[node.input[2]]) == 1
        )  # a shared bias has a step of its own for every input
        stored = node.input[2] if alone else f"{node.input[2]}_{node.name}"
        made.append(_int32_bias(model, stored, bias, entry[0], scale))
        node.input[2] = made[-1].output[0]
    return made


def _readers(graph: Graph, weight: str) -> list[onnx.NodeProto]:
    return [node for node in graph.consumers[weight] if node.op_type in WEIGHTED and node.input[1] == weight]


def _plain(node: onnx.NodeProto) -> bool:
    return bool(attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0)


def _stored(
    model: onnx.ModelProto, name: str, value: np.ndarray, scale: Scale, axis: int, site: Site
) -> onnx.NodeProto:
    integers = scale.quantize(value, axis).astype(_dtype(scale))
    model.graph.initializer.append(numpy_helper.from_array(integers, f"{name}_quantized"))
    scale_name, zero_name = _parameters(model, name, scale)
    options: dict[str, Any] = {"axis": axis} if scale.scale.size > 1 else {}
    node = helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", scale_name, zero_name],
        [_dequantized(name)],
        name=f"{name}_DequantizeLinear",
        **options,
    )
    set_metadata(node, SITE_KEY, str(site))
    return node


def _int32_bias(model: onnx.ModelProto, name: str, bias: np.ndarray, x: Scale, w: Scale) -> onnx.NodeProto:
    step = (x.scale.astype(np.float64) * w.scale.astype(np.float64)).astype(np.float32)
    limits = np.iinfo(np.int32)
    integers = np.clip(np.rint(bias.astype(np.float64) / step), limits.min, limits.max).astype(np.int32)
    for suffix, value in (
        ("_quantized", integers),
        ("_scale", step if step.size > 1 else step.reshape(())),
        ("_zero_point", np.zeros(step.shape if step.size > 1 else (), np.int32)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name + suffix))
    options: dict[str, Any] = {"axis": 0} if step.size > 1 else {}
    return helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"],
        [_dequantized(name)],
        name=f"{name}_DequantizeLinear",
        **options,
    )


def _parameters(model: onnx.ModelProto, name: str, scale: Scale) -> tuple[str, str]:
    shape = () if scale.scale.size == 1 else scale.scale.shape
    names = (f"{name}_scale", f"{name}_zero_point")
    values = (
        scale.scale.astype(np.float32).reshape(shape),
        scale.zero_point.astype(_dtype(scale)).reshape(shape),
    )
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for v, n in zip(values, names, strict=True))
    return names


def _dtype(scale: Scale) -> type[np.generic]:
    return np.int8 if scale.grid.signed else np.uint8


def _raise_opset(model: onnx.ModelProto) -> None:
    for item in model.opset_import:
        if item.domain in ("", "ai.onnx") and item.version < 13:
            raise BadInput(
                f"quantize: opset {item.version} has no per-channel DequantizeLinear. Export at 17 or later."
            )


def _drop_unread_initializers(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    for item in [item for item in model.graph.initializer if item.name not in used]:
        model.graph.initializer.remove(item)
