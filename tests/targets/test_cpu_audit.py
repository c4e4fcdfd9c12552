"""The audit on files of other tools and on graphs built to go wrong: counts, placement, cause and remedy."""

from __future__ import annotations

import platform
import time

import numpy as np
import onnx
import pytest
from onnx_nets import Net, residual
from quantized_nets import quantized

from edgekit.errors import BadInput
from targets.cpu import CpuTarget
from targets.cpu.nodes import Graph, layer_of, plain, unique_names
from targets.cpu.runtime import OrtRunner

x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the trap is one of x86")
CONVOLUTIONS = ["stem", "0.a", "0.b", "1.a", "1.b", "2.a", "2.b"]


def audit(path):
    return CpuTarget().audit(path)


def causes(found):
    return {finding.node: finding.what for finding in found.findings}


def test_unsigned_residual_net_is_all_integer(tmp_path):
    found = audit(quantized(residual(), tmp_path / "u8.onnx", signed=False))
    assert (found.float_compute_nodes, found.stray_qdq, found.integer_compute_nodes) == (0, 0, 12)
    assert found.nodes["QLinearConv"] == 7
    assert found.nodes["QLinearAdd"] == 3
    assert found.findings == ()
    assert all(found.placement[name] == "integer" for name in CONVOLUTIONS)


@x86
def test_signed_residual_net_shows_the_fork(tmp_path):
    found = audit(quantized(residual(), tmp_path / "s8.onnx", signed=True))
    in_float = {name for name, place in found.placement.items() if place == "float"}
    assert in_float == {"stem", "0.a", "1.a", "2.a", "0.add", "1.add", "2.add"}
    assert (found.float_compute_nodes, found.integer_compute_nodes) == (7, 5)
    assert found.stray_qdq > 20
    assert set(causes(found)) == in_float
    assert all("fork" in what for what in causes(found).values())
    assert all("uint8" in finding.remedy for finding in found.findings)


@x86
def test_operator_form_on_signed_activations_is_slow(tmp_path):
    found = audit(quantized(residual(1), tmp_path / "qop.onnx", signed=True, operator_form=True))
    slow = [finding for finding in found.findings if "slower than fp32" in finding.what]
    assert [finding.node for finding in slow] == ["stem_quant", "0.a_quant", "0.b_quant"]


def test_fp32_file_is_all_float_without_warnings(tmp_path):
    onnx.save(residual(), tmp_path / "fp32.onnx")
    found = audit(tmp_path / "fp32.onnx")
    assert found.integer_compute_nodes == found.stray_qdq == 0
    assert all(found.placement[name] == "float" for name in [*CONVOLUTIONS, "head"])
    assert [finding.severity for finding in found.findings] == ["note"]


def test_torch_export_names_its_layers(tmp_path):
    torch = pytest.importorskip("torch")
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 4),
    ).eval()
    program = torch.onnx.export(layers, (torch.zeros(1, 3, 16, 16),), dynamo=True, verbose=False)
    program.save(tmp_path / "torch.onnx")
    found = audit(tmp_path / "torch.onnx")
    assert found.float_compute_nodes >= 3
    layers = {node.operator: node.layer for node in Graph(onnx.load(tmp_path / "torch.onnx")).nodes}
    assert (layers["Conv"], layers["Gemm"]) == ("0", "4")
    found = audit(quantized(onnx.load(tmp_path / "torch.onnx"), tmp_path / "torch8.onnx", signed=False))
    assert [finding.layer for finding in found.findings if "ReduceMean" in finding.what] == ["2"]
    assert "GlobalAveragePool" in found.findings[0].remedy


def test_fp16_file_counts_its_casts(tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float16), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, None)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "half.onnx")
    found = audit(tmp_path / "half.onnx")
    assert found.placement == {"conv": "float"}
    assert found.nodes["Cast"] >= 2
    assert (
        f"fp16: the CPU computes in fp32 and converts with {found.nodes['Cast']} Cast"
        in found.findings[0].what
    )


def test_dynamic_quantization_is_named(tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    net = Net((1, 32))
    net.save(net.gemm("x", "head", 8, 32), tmp_path / "fp32.onnx")
    quantize_dynamic(tmp_path / "fp32.onnx", tmp_path / "dynamic.onnx")
    found = audit(tmp_path / "dynamic.onnx")
    assert found.integer_compute_nodes >= 1
    assert any("dynamic quantization" in finding.what for finding in found.findings)


def weight(net, name="w", shape=(16, 16, 3, 3), *, axis=None):
    value = net.constant(name, net.random.integers(-127, 127, shape).astype(np.int8))
    count = 1 if axis is None else shape[axis]
    scale = net.constant(
        f"{name}.scale", np.full(count, 0.01, np.float32) if axis is not None else np.float32(0.01)
    )
    zero = net.constant(f"{name}.zero", np.zeros(count, np.int8) if axis is not None else np.int8(0))
    extra = {} if axis is None else {"axis": axis}
    return net.node("DequantizeLinear", value, scale, zero, name=f"{name}.dq", **extra)


def conv(net, source, name="conv", **options):
    return net.node("Conv", source, weight(net, f"{name}.w", **options), name=name, pads=[1] * 4)


def no_output_pair(net):
    inner = conv(net, net.pair("x", "in"))
    return net.node("Tanh", inner, name="tanh")


def no_input_pair(net):
    return net.pair(conv(net, net.node("Tanh", "x", name="tanh")), "out")


def float_weight(net):
    return net.pair(net.conv(net.pair("x", "in"), "conv"), "out")


def two_scales(net):
    return net.pair(
        net.node("MaxPool", net.pair("x", "in"), name="pool", kernel_shape=[2, 2]), "out", scale=0.2
    )


def wrong_axis(net):
    return net.pair(conv(net, net.pair("x", "in"), axis=1), "out")


def batchnorm_between(net):
    inner = net.batchnorm(conv(net, net.pair("x", "in")), "bn")
    return net.pair(inner, "out")


def batchnorm_after_pair(net):
    return net.pair(net.batchnorm(net.pair(conv(net, net.pair("x", "in")), "mid"), "bn"), "out")


def symmetric_after_relu(net):
    inner = net.node("Relu", conv(net, net.pair("x", "in", signed=True)), name="relu")
    return net.pair(inner, "out", signed=True)


def constant_operand(net):
    return net.pair(net.node("Add", net.pair("x", "in"), weight(net, "shift", (16, 1, 1)), name="add"), "out")


def interpolation(net):
    scales = net.constant("by", np.array([1, 1, 2, 2], np.float32))
    return net.pair(net.node("Resize", net.pair("x", "in"), "", scales, name="resize", mode="linear"), "out")


@pytest.mark.parametrize(
    ("build", "node", "cause"),
    [
        (no_output_pair, "conv", "goes to 'tanh' (Tanh) without being quantized"),
        (no_input_pair, "conv", "its input 'tanh_out' is not quantized"),
        (two_scales, "pool", "between two scales"),
        (batchnorm_between, "bn", "BatchNormalization runs by itself"),
        (batchnorm_between, "conv", "a BatchNormalization follows it"),
        (batchnorm_after_pair, "bn", "a Q/DQ pair parts it"),
        (symmetric_after_relu, "conv", "the zero point is 0 and not -128"),
        (constant_operand, "add", "different types (int8 and uint8)"),
        (interpolation, "resize", "interpolating Resize"),
    ],
)
def test_cause_is_found(build, node, cause, tmp_path):
    net = Net()
    found = audit(net.save(build(net), tmp_path / "net.onnx"))
    assert found.placement[node] == "float"
    assert cause in causes(found)[node]
    assert found.stray_qdq + found.float_compute_nodes > 0


def test_batchnorm_after_gemm(tmp_path):
    net = Net((1, 16))
    output = net.batchnorm(net.gemm("x", "linear", 16, 16), "bn")
    found = audit(net.save(output, tmp_path / "linear.onnx"))
    assert "does not fuse it into Gemm" in causes(found)["bn"]


def test_batchnorm_after_conv_is_fused_in_fp32(tmp_path):
    net = Net()
    found = audit(net.save(net.batchnorm(net.conv("x", "conv"), "bn"), tmp_path / "conv.onnx"))
    assert found.placement == {"conv": "float", "bn": "moved away"}


def test_fused_activations_and_additions_are_moved_away(tmp_path):
    onnx.save(residual(1), tmp_path / "fp32.onnx")
    found = audit(tmp_path / "fp32.onnx")
    assert found.placement["stem.relu"] == found.placement["0.relu_a"] == "moved away"


def test_float_weight_and_bias_are_a_note(tmp_path):
    net = Net()
    found = audit(net.save(float_weight(net), tmp_path / "float.onnx"))
    assert found.placement["conv"] == "integer"
    assert "its weight and bias is stored in float" in causes(found)["conv"]
    assert found.findings[0].severity == "note"


def test_scales_along_the_wrong_axis_are_an_error(tmp_path):
    net = Net()
    path = net.save(wrong_axis(net), tmp_path / "axis.onnx")
    model = onnx.load(path)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "conv.w.scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(np.linspace(0.001, 0.02, 16, dtype=np.float32), scale.name))
    onnx.save(model, path)
    found = audit(path)
    assert found.findings[0].severity == "error"
    assert "axis 1, but its output channels are axis 0" in found.findings[0].what
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 16, 8, 8)).astype(np.float32)}
    run, truth = (
        next(iter(OrtRunner(path, optimization=level).run(feeds).values())) for level in ("all", "none")
    )
    assert np.abs(run - truth).max() > 1.0  # the claim: onnxruntime's result really is wrong


def test_old_opset(tmp_path):
    net = Net()
    found = audit(net.save(net.pair("x", "in"), tmp_path / "old.onnx", opset=11))
    assert any("opset 11 is too old" in finding.what for finding in found.findings)


def test_nodes_without_names_are_told_apart(tmp_path):
    model = residual(1)
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, tmp_path / "unnamed.onnx")
    found = audit(tmp_path / "unnamed.onnx")
    assert len(found.placement) == len(model.graph.node)
    assert found.placement["Conv_0"] == "float"
    assert unique_names(model.graph.node)[:2] == ["Conv_0", "Relu_1"]


def test_broken_files_are_one_line(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    for name, match in (("absent.onnx", "no such file"), ("broken.onnx", "not an ONNX file|no nodes")):
        with pytest.raises(BadInput, match=match) as error:
            audit(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_large_file_takes_seconds(tmp_path):
    onnx.save(residual(60, channels=64), tmp_path / "deep.onnx")
    start = time.perf_counter()
    found = audit(tmp_path / "deep.onnx")
    assert time.perf_counter() - start < 10
    assert sum(place == "float" for place in found.placement.values()) >= 121


def test_site_and_scopes_name_the_layer():
    node = onnx.helper.make_node("Conv", ["x"], ["y"], name="node_conv")
    assert layer_of(node) == "node_conv"
    entry = node.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'block', 'block.conv', 'conv2d']"
    assert layer_of(node) == "block.conv"
    entry.value = "['', 'relu']"
    assert layer_of(node) == "relu"
    entry.value = "broken ["
    assert layer_of(node) == "node_conv"
    entry.key, entry.value = "edgekit.layer", "block.conv"
    assert layer_of(node) == "block.conv"
    entry.key, entry.value = "edgekit.site", "block.conv/conv#0:output"
    assert layer_of(node) == "block.conv/conv#0:output"


def test_optimizers_names_are_stripped():
    assert plain("fused conv_nchwc_token_12") == "conv"
    assert plain("a_DequantizeLinear/duplicated") == "a_DequantizeLinear"
