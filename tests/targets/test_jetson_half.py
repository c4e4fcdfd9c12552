"""Files for TensorRT 11 and later, whose engines compute in a file's own types: int8 with float16 around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edgekit.export.graph import Graph
from edgekit.export.opset import opset_of
from edgekit.quant.half import to_fp16
from edgekit.quant.placement import place
from edgekit.quant.quantization import Quantization
from edgekit.quant.reference import IntegerReference
from edgekit.quant.writer import write_qdq, written_sites
from targets.jetson.forms import PAIRS, wrong_forms
from targets.jetson.half import SMALLEST, half_pairs
from targets.jetson.runtime import StandInRunner
from tests.quant.whole_way import quantize_graph
from tests.targets.test_jetson import TARGET, board, built, whole

NETS = ["resnet8", "mobilenet_v1", "gn_lenet", "tfc"]
TYPED = board("11.4")
ACCUMULATORS = ("correlation", "gemm")  # TensorRT for RTX hands their sums to the kernel that rounds them


def both(name, folder):
    """(the file for TensorRT 10.3, the one for 11.4, quantization, feeds) of a zoo network."""
    artefact, graph, quantization, feeds = whole(name, folder)
    half = TARGET.export(graph, quantization, TYPED, folder / "half.onnx")
    return artefact, half, graph, quantization, feeds


def values(model):
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


@pytest.mark.parametrize("name", NETS)
def test_the_integers_are_those_of_the_float_file_and_scales_are_near(name, tmp_path):
    artefact, half, _, quantization, _ = both(name, tmp_path)
    model = onnx.load(half.path)
    onnx.checker.check_model(model, full_check=True)
    assert half.precision == artefact.precision
    assert wrong_forms(model, newest_opset=24) == []
    assert written_sites(model) == set(quantization.activations) | set(quantization.weights)
    before, after = values(onnx.load(artefact.path)), values(model)
    for key, value in before.items():
        if value.dtype == np.float32:
            assert after[key].dtype == np.float16
            assert np.abs(after[key] - value).max() <= 2.0**-11 * np.abs(value).max() + 2.0**-24
        else:
            np.testing.assert_array_equal(after[key], value)
    graph = Graph(model)
    first = [node for name in graph.inputs for node in graph.consumers[name]]
    assert {node.op_type for node in first} == {"QuantizeLinear"}
    assert {key for key, value in after.items() if value.dtype == np.float32} == {
        node.input[1] for node in first
    }
    for node in first:
        np.testing.assert_array_equal(
            after[node.input[1]], before[node.input[1].removesuffix("_QuantizeLinear_scale") + "_scale"]
        )
    ends = (*model.graph.input, *model.graph.output)
    assert {value.type.tensor_type.elem_type for value in ends} == {TensorProto.FLOAT}


@pytest.mark.parametrize("name", NETS)
def test_the_file_computes_what_the_integer_reference_does_but_for_rounding_in_half(name, tmp_path):
    artefact, half, _, _, feeds = both(name, tmp_path)
    ours = next(iter(StandInRunner(half.path).run(feeds).values()))
    theirs = next(iter(IntegerReference(onnx.load(artefact.path)).run(feeds).values()))
    error = np.abs(ours - theirs) / np.abs(theirs).max()
    assert ours.dtype == np.float32
    assert error.max() <= 0.1  # a value that half precision moves over a tie is one step off, and so on
    assert np.median(error) <= 0.02


@pytest.mark.parametrize("name", NETS)
def test_nvidias_builder_keeps_every_layer_in_int8_and_leaves_no_float_between_layers(name, tmp_path):
    artefact, half, graph, _, _ = both(name, tmp_path)
    layers = built(half.path).layers
    before, after = TARGET.audit(artefact.path), TARGET.audit(half.path)
    assert [finding for finding in after.findings if finding.severity != "note"] == []
    assert (after.float_compute_nodes, after.stray_qdq) == (0, 0)
    assert after.placement == before.placement
    for addition in [node.name for node in graph.graph.node if node.op_type == "Add"]:
        kernels = [layer for layer in layers if addition in layer.sources]
        if name == "resnet8":
            assert [set(layer.outputs) for layer in kernels] == [{"Int8"}]
    inner = [layer for layer in layers[1:] if layer.kind not in ACCUMULATORS]
    assert all("Float" not in layer.outputs for layer in inner[:-1])


def test_what_was_fp32_is_half(tmp_path):
    artefact, half, _, _, _ = both("gn_lenet", tmp_path)
    for file, kind in ((artefact, "Float"), (half, "Half")):
        norms = [
            layer for layer in built(file.path).layers if any("InstanceNorm" in s for s in layer.sources)
        ]
        assert norms
        assert {(*layer.inputs, *layer.constants, *layer.outputs) for layer in norms} == {(kind,) * 4}


def test_a_layer_kept_in_float_runs_in_half(tmp_path):
    _, graph, _, feeds = whole("resnet8", tmp_path)
    caps = TARGET.caps(TYPED)
    placement = place(graph, caps, exclude=("stages.2.*",))
    quantization = quantize_graph(graph, placement, caps, feeds)
    half = TARGET.export(graph, quantization, TYPED, tmp_path / "mixed.onnx")
    assert half.precision == "int8+fp16"
    assert TARGET.export(graph, quantization, board(), tmp_path / "old.onnx").precision == "int8+fp32"
    floats = [
        node.name
        for node in graph.graph.node
        if node.op_type == "Conv" and node.name in placement.float_nodes
    ]
    assert len(floats) == 3
    for name in floats:
        (layer, *_) = [item for item in built(half.path).layers if name in item.sources and item.constants]
        assert set(layer.inputs) == {"Half"}
        assert layer.constants[0] == "Half"  # the weight; the kernel's own factors are fp32


def test_a_file_in_an_older_operator_set_keeps_its_scales_between_casts(tmp_path):
    artefact, _, _, _, feeds = both("resnet8", tmp_path)
    old = onnx.load(artefact.path)
    assert opset_of(old) == 13
    made = half_pairs(old, 24)
    assert opset_of(made) == 13
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, tmp_path / "old.onnx")
    kinds = {value.dtype for key, value in values(made).items() if key.endswith("_scale")}
    assert kinds == {np.dtype(np.float32)}
    seen = TARGET.audit(tmp_path / "old.onnx")
    built(tmp_path / "old.onnx")
    assert (seen.float_compute_nodes, seen.stray_qdq) == (0, 0)
    ours, theirs = (
        next(iter(StandInRunner(path).run(feeds).values())) for path in (tmp_path / "old.onnx", artefact.path)
    )
    assert np.abs(ours - theirs).max() <= 0.05 * np.abs(theirs).max()


def test_a_scale_that_half_cannot_hold_stays_in_float(tmp_path):
    _, graph, quantization, _ = whole("ds_cnn", tmp_path)
    site = next(iter(quantization.weights))
    scale = quantization.weights[site]
    tiny = replace(scale, scale=scale.scale * np.float32(SMALLEST / scale.scale.max() / 100))
    changed = replace(quantization, weights={**quantization.weights, site: tiny})
    plain = write_qdq(graph, changed, TARGET.caps(TYPED))
    made = half_pairs(plain, 24)
    onnx.checker.check_model(made, full_check=True)
    kept = [key for key, value in values(made).items() if value.dtype == np.float32]
    assert len(kept) == 2  # the input's, and this weight's
    index = Graph(made)
    (pair,) = [
        node
        for node in made.graph.node
        if node.op_type in PAIRS and node.input[1] == f"{weight_of(made, site)}_scale"
    ]
    assert index.sole_consumer(pair.output[0]).op_type == "Cast"


def weight_of(model, site):
    return next(
        node.input[0].removesuffix("_quantized")
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and any(item.value == str(site) for item in node.metadata_props)
    )


def test_fp16_is_the_files_where_the_builder_does_not_choose_it(tmp_path):
    _, graph, *_ = whole("tfc", tmp_path)
    kinds = {}
    for version in ("10.3", "11.4"):
        path = tmp_path / f"{version}.onnx"
        found = TARGET.export(graph, Quantization(precision="fp16"), board(version), path)
        assert found.precision == "fp16"
        kinds[version] = {value.dtype for value in values(onnx.load(path)).values()} - {np.dtype(np.int64)}
        plain = TARGET.export(graph, None, board(version), path)
        assert {value.dtype for value in values(onnx.load(plain.path)).values()} >= {np.dtype(np.float32)}
    assert kinds == {"10.3": {np.dtype(np.float32)}, "11.4": {np.dtype(np.float16)}}


@pytest.mark.parametrize("name", ["resnet8", "gn_lenet"])
def test_a_half_file_has_its_nodes_in_order(name, tmp_path):
    _, graph, *_ = whole(name, tmp_path)
    onnx.checker.check_model(to_fp16(graph), full_check=True)
