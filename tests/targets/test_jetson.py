"""The Jetson target: what is written equals the integer reference, follows NVIDIA's rules, and is accepted and run in
int8 by NVIDIA's own parser and builder, where they are installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekit.errors import BadInput
from edgekit.export.graph import Graph
from edgekit.export.opset import opset_of
from edgekit.export.to_onnx import to_onnx
from edgekit.quant.placement import fused_additions, place
from edgekit.quant.quantization import Quantization
from edgekit.quant.reference import IntegerReference
from edgekit.quant.writer import written_sites
from edgekit.registry import models
from edgekit.target import Board
from edgekit.zoo import ENTRIES
from targets.jetson import JetsonTarget
from targets.jetson.builder import ABSENT, Built, build
from targets.jetson.forms import wrong_forms
from targets.jetson.layers import layer_of
from targets.jetson.runtime import StandInRunner
from tests.quant.whole_way import quantize_graph, settle

TARGET = JetsonTarget()
SMALL = ["resnet8", "ds_cnn", "mobilenet_v1", "fc_autoencoder", "cnv", "tfc", "mlp", "gn_lenet"]
LARGE = ["resnet18", "efficientnet_lite0"]


def board(tensorrt="10.3", **facts):
    return Board("jetson-orin-nano", "Jetson Orin Nano", "jetson", {"tensorrt": tensorrt, **facts})


def built(path: Path) -> Built:
    found = build(path)
    if found == ABSENT:
        pytest.skip("NVIDIA's parser is not installed (edgekit doctor --install jetson-check)")
    assert isinstance(found, Built), found
    return found


def whole(name, folder, tensorrt="10.3"):
    """(path, fp32 graph, quantization, feeds) of a zoo network, quantized for a board."""
    shape = ENTRIES[name].shape
    try:
        model = settle(models.get(name)())
    except BadInput as error:
        pytest.skip(str(error))
    graph = to_onnx(model, {"x": torch.zeros(1, *shape)})
    given = {"x": np.random.default_rng(1).standard_normal((4, *shape)).astype(np.float32)}
    caps = TARGET.caps(board(tensorrt))
    placement = place(graph, caps)
    quantization = quantize_graph(graph, placement, caps, given)
    path = folder / f"{name}.onnx"
    artefact = TARGET.export(graph, quantization, board(tensorrt), path)
    return artefact, graph, quantization, given


@pytest.mark.parametrize("name", SMALL)
def test_the_file_computes_what_the_integer_reference_does(name, tmp_path):
    artefact, _, quantization, feeds = whole(name, tmp_path)
    model = onnx.load(artefact.path)
    assert written_sites(model) == set(quantization.activations) | set(quantization.weights)
    assert wrong_forms(model, newest_opset=20) == []
    ours = next(iter(StandInRunner(artefact.path).run(feeds).values()))
    theirs = next(iter(IntegerReference(model).run(feeds).values()))
    assert (
        np.abs(ours - theirs).max() <= 1e-2 * np.abs(theirs).max()
    )  # a tie that float32 sums round otherwise
    assert np.median(np.abs(ours - theirs)) <= 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("name", SMALL + LARGE)
def test_nvidias_builder_runs_every_layer_with_weights_in_int8_and_fuses_every_addition(name, tmp_path):
    artefact, graph, _, _ = whole(name, tmp_path)
    built(artefact.path)
    seen = TARGET.audit(artefact.path)
    assert [finding for finding in seen.findings if finding.severity != "note"] == []
    assert (seen.float_compute_nodes, seen.stray_qdq) == (0, 0)
    heavy = [node for node in graph.graph.node if node.op_type in ("Conv", "Gemm")]
    assert heavy
    assert all(seen.placement[node.name] == "integer" for node in heavy)


@pytest.mark.parametrize("name", ["resnet8", "resnet18"])
def test_each_addition_is_one_kernel_with_an_int8_skip(name, tmp_path):
    artefact, graph, _, _ = whole(name, tmp_path)
    layers = built(artefact.path).layers
    additions = [node.name for node in graph.graph.node if node.op_type == "Add"]
    assert additions
    for addition in additions:
        kernels = [layer for layer in layers if addition in layer.sources]
        assert len(kernels) == 1
        assert len(kernels[0].sources) > 1
        assert set(kernels[0].outputs) == {"Int8"}


def test_of_a_residual_addition_the_skip_alone_has_a_pair(tmp_path):
    _, graph, quantization, _ = whole("resnet8", tmp_path)
    index = Graph(graph)
    fused = fused_additions(index)
    additions = [node for node in index.nodes if node.op_type == "Add"]
    assert sorted(fused.values()) == sorted(node.name for node in additions)
    caps = TARGET.caps(board())
    sites = place(graph, caps).activations
    for node in additions:
        paired = [name for name in node.input if name in sites]
        assert len(paired) == 1
        assert paired[0] not in fused
    assert set(quantization.activations) == set(sites.values())


@pytest.mark.parametrize(("tensorrt", "newest"), [("8.5", 17), ("8.6.2", 17), ("10.3", 20), ("11.4", 24)])
@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "gn_lenet"])
def test_the_file_is_in_the_oldest_operator_set_that_says_the_same(name, tensorrt, newest, tmp_path):
    artefact, graph, _, feeds = whole(name, tmp_path, tensorrt)
    model = onnx.load(artefact.path)
    assert opset_of(model) <= newest
    onnx.checker.check_model(model, full_check=True)
    plain = TARGET.export(graph, None, board(tensorrt), tmp_path / "float.onnx")
    onnx.save(graph, tmp_path / "new.onnx")
    old, new = (
        next(iter(StandInRunner(path).run(feeds).values())) for path in (plain.path, tmp_path / "new.onnx")
    )
    assert np.abs(old - new).max() <= 1e-6 * max(1.0, np.abs(new).max())


def test_the_capabilities_follow_the_boards_tensorrt():
    assert TARGET.caps(board("8.5")).opset == 17
    assert TARGET.caps(board("11.4")).opset == 24
    caps = TARGET.caps(board())
    assert (caps.activations.lowest, caps.activations.highest) == (-127, 127)
    assert caps.bias == "float"
    assert "int8" not in TARGET.caps(board(int8=False)).precisions
    for version, said in (("8.2", "JetPack 5"), ("ten", "like 10.3")):
        with pytest.raises(BadInput, match=said):
            TARGET.caps(board(version))


def test_a_board_without_int8_takes_no_int8_file(tmp_path):
    _, graph, quantization, _ = whole("tfc", tmp_path)
    with pytest.raises(BadInput, match="fp16"):
        TARGET.export(graph, quantization, board(int8=False), tmp_path / "no.onnx")
    assert not (tmp_path / "no.onnx").exists()
    TARGET.export(graph, Quantization(precision="fp16"), board(int8=False), tmp_path / "half.onnx")
    assert onnx.load(tmp_path / "half.onnx").graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


def pair_file(path: Path, *, zero, bias=None, opset=13, channels=False, domain=""):
    """x -> Q -> DQ -> Conv(weight DQ, bias) -> y."""
    zero = np.asarray(zero)
    scale = np.full(3 if channels else (), 0.1, np.float32)
    made = {
        "s": scale,
        "z": np.full(scale.shape, zero, zero.dtype),
        "w": np.ones((4, 3, 1, 1), np.int8),
        "ws": np.full(4, 0.01, np.float32),
        "wz": np.zeros(4, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize", domain=domain),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="dequantize", domain=domain),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], name="weight", axis=0),
    ]
    inputs = ["d", "wd"]
    if bias is not None:
        made |= {"b": np.zeros(4, bias), "bs": np.full(4, 0.001, np.float32), "bz": np.zeros(4, bias)}
        nodes.append(helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], name="bias", axis=0))
        inputs.append("bd")
    nodes.append(helper.make_node("Conv", inputs, ["y"], name="conv"))
    value = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)  # noqa: E731
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", [1, 3, 8, 8])],
        [value("y", [1, 4, 8, 8])],
        [numpy_helper.from_array(item, name) for name, item in made.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return model


WRONG = {
    "uint8": ({"zero": np.uint8(0)}, "read as int8"),
    "a zero point": ({"zero": np.int8(3)}, "zero point is 3"),
    "a uint8 zero point": ({"zero": np.uint8(128)}, "zero point is 128"),
    "an int32 bias": ({"zero": np.int8(0), "bias": np.int32}, "int32 bias"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_tensorrt_refuses_or_misreads_is_found(case, tmp_path):
    options, said = WRONG[case]
    found = wrong_forms(pair_file(tmp_path / "m.onnx", **options), newest_opset=20)
    assert found
    assert all(finding.severity == "error" and finding.remedy for finding in found)
    assert any(said in finding.what for finding in found)


def test_a_good_file_has_no_wrong_form(tmp_path):
    assert wrong_forms(pair_file(tmp_path / "m.onnx", zero=np.int8(0)), newest_opset=20) == []
    assert "newer" in wrong_forms(pair_file(tmp_path / "m.onnx", zero=np.int8(0)), newest_opset=12)[0].what


@pytest.mark.parametrize("case", [case for case in WRONG if case != "uint8"])
def test_nvidias_parser_refuses_it_too(case, tmp_path):
    pair_file(tmp_path / "m.onnx", **WRONG[case][0])
    assert built(tmp_path / "m.onnx").refused


def test_nvidias_parser_takes_uint8_for_int8_without_a_word(tmp_path):
    """Why the rule on uint8 must be ours."""
    pair_file(tmp_path / "m.onnx", zero=np.uint8(0))
    found = built(tmp_path / "m.onnx")
    assert not found.refused
    assert any(layer.takes_integers for layer in found.layers)


@pytest.mark.parametrize("operator", ["Quant", "DynamicQuantizeLinear", "QLinearConv"])
def test_operators_that_the_parser_does_not_read_are_named(operator):
    node = helper.make_node(operator, ["x"], ["y"], name="here")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node], "g", [value], [out]), ir_version=8)
    (found,) = wrong_forms(model, newest_opset=99)
    assert (found.node, found.severity) == ("here", "error")
    assert operator in found.what


def test_an_operator_newer_than_the_board_is_refused_by_name(tmp_path):
    node = helper.make_node("Gelu", ["x"], ["y"], name="act")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    model = helper.make_model(
        helper.make_graph([node], "g", [value], [out]), opset_imports=[helper.make_opsetid("", 20)]
    )
    with pytest.raises(BadInput, match=r"Gelu 'act' .* newer JetPack"):
        TARGET.export(model, None, board("8.5"), tmp_path / "m.onnx")
    (found,) = [item for item in TARGET.lint(model, TARGET.caps(board("8.5"))) if item.severity == "error"]
    assert "Gelu" in found.what


def test_the_lint_is_silent_on_good_networks_and_names_what_stays_in_float(tmp_path):
    caps = TARGET.caps(board())
    _, graph, *_ = whole("resnet8", tmp_path)
    assert [item for item in TARGET.lint(graph, caps) if item.severity != "note"] == []
    _, graph, *_ = whole("gn_lenet", tmp_path)
    assert any("no int8 kernel" in item.what for item in TARGET.lint(graph, caps))


LINES = [
    "Name: conv_1, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [1,4,8,8], Strides: [256,1,32,4], "
    "StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ { Name: w, "
    "Dimensions: [16,4,3,3], Strides: [36,1,12,4], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel "
    "major format }], Outputs: [ { Name: b, Dimensions: [1,16,8,8], Strides: [1], StrideOrder: [0], Datatype: Float, "
    "Format: (Linear) Row major linear format }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: node_a][ONNX "
    "Layer: node b]",
    {
        "Name": "conv_1",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "a", "Dimensions": [1, 4], "Format/Datatype": "Four wide channel vectorized row major Int8 "
        "format"}],
        "Outputs": [{"Name": "b", "Dimensions": [1], "Format/Datatype": "Row major linear FP32"}],
        "Weights": {"Type": "Int8", "Count": 576},
        "Metadata": "[ONNX Layer: node_a][ONNX Layer: node b]",
    },
]  # fmt: skip


@pytest.mark.parametrize("account", LINES, ids=["builder's log", "engine inspector"])
def test_both_accounts_of_a_layer_are_read(account):
    layer = layer_of(account)
    assert layer is not None
    assert (layer.name, layer.inputs, layer.constants, layer.outputs) == (
        "conv_1",
        ("Int8",),
        ("Int8",),
        ("Float",),
    )
    assert layer.sources == ("node_a", "node b")
    assert layer.takes_integers
    assert layer_of("Bindings: x y") is None


def test_without_the_parser_the_rules_decide_and_the_audit_says_so(tmp_path, monkeypatch):
    artefact, graph, *_ = whole("resnet8", tmp_path)
    monkeypatch.setattr("targets.jetson.audit.build", lambda path: ABSENT)
    seen = TARGET.audit(artefact.path)
    assert seen.float_compute_nodes == 0
    assert [finding.what for finding in seen.findings] == [ABSENT]
    plain = TARGET.export(graph, None, board(), tmp_path / "float.onnx")
    assert TARGET.audit(plain.path).integer_compute_nodes == 0


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no")
    with pytest.raises(BadInput, match=r"m\.onnx"):
        TARGET.audit(tmp_path / "m.onnx")
