"""Every operator that the caps call integer is one, in the graph that onnxruntime makes of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_nets import Net

from targets.cpu import CpuTarget
from targets.cpu.caps import ABSORBED, ARITHMETIC, MOVEMENT


def weight(net: Net, shape: tuple[int, ...]) -> str:
    """A constant int8 weight, dequantized, of 7 bits, which no x86 saturates on."""
    value = net.constant("w", net.random.integers(-63, 64, shape).astype(np.int8))
    return net.node(
        "DequantizeLinear",
        value,
        net.constant("w.scale", np.float32(0.01)),
        net.constant("w.zero", np.int8(0)),
        name="w.dq",
    )


def other(net: Net, source: str) -> str:
    """A second quantized activation."""
    return net.pair(net.node("Relu", source, name="other"), "other.pair", zero=0)


def indices(net: Net, name: str, *values: int) -> str:
    return net.constant(name, np.array(values, np.int64))


def split(net: Net, source: str) -> str:
    first = net.node("Split", source, name="op", outputs=2, axis=1, num_outputs=2)
    return net.node("Add", net.pair(first, "first"), net.pair("op_out1", "second"), name="sum")


IMAGE = {
    "Add": lambda net, x: net.node("Add", x, other(net, x), name="op"),
    "AveragePool": lambda net, x: net.node("AveragePool", x, name="op", kernel_shape=[2, 2]),
    "Concat": lambda net, x: net.node("Concat", x, other(net, x), name="op", axis=1),
    "Conv": lambda net, x: net.node("Conv", x, weight(net, (16, 16, 3, 3)), name="op", pads=[1] * 4),
    "DepthToSpace": lambda net, x: net.node("DepthToSpace", x, name="op", blocksize=2),
    "Expand": lambda net, x: net.node("Expand", x, indices(net, "shape", 2, 16, 8, 8), name="op"),
    "Flatten": lambda net, x: net.node("Flatten", x, name="op"),
    "Gather": lambda net, x: net.node("Gather", x, indices(net, "index", 0, 1), name="op", axis=1),
    "GlobalAveragePool": lambda net, x: net.node("GlobalAveragePool", x, name="op"),
    "LeakyRelu": lambda net, x: net.node("LeakyRelu", x, name="op"),
    "MatMul": lambda net, x: net.node("MatMul", x, weight(net, (8, 8)), name="op"),
    "MaxPool": lambda net, x: net.node("MaxPool", x, name="op", kernel_shape=[2, 2]),
    "Mul": lambda net, x: net.node("Mul", x, other(net, x), name="op"),
    "ReduceMax": lambda net, x: net.node("ReduceMax", x, indices(net, "axes", 2, 3), name="op"),
    "Reshape": lambda net, x: net.node("Reshape", x, indices(net, "shape", 1, -1), name="op"),
    "Resize": lambda net, x: net.node(
        "Resize", x, "", net.constant("by", np.array([1, 1, 2, 2], np.float32)), name="op", mode="nearest"
    ),
    "Sigmoid": lambda net, x: net.node("Sigmoid", x, name="op"),
    "Slice": lambda net, x: net.node(
        "Slice", x, indices(net, "from", 0), indices(net, "to", 4), indices(net, "axis", 2), name="op"
    ),
    "Softmax": lambda net, x: net.node("Softmax", x, name="op"),
    "Split": split,
    "Squeeze": lambda net, x: net.node("Squeeze", x, indices(net, "axes", 0), name="op"),
    "Transpose": lambda net, x: net.node("Transpose", x, name="op", perm=[0, 2, 3, 1]),
    "Unsqueeze": lambda net, x: net.node("Unsqueeze", x, indices(net, "axes", 0), name="op"),
    "Where": lambda net, x: net.node(
        "Where", net.constant("mask", np.ones((1, 16, 8, 8), bool)), x, other(net, x), name="op"
    ),
}
FLOAT = {
    "ConvTranspose": lambda net, x: net.node("ConvTranspose", x, weight(net, (16, 16, 2, 2)), name="op"),
    "Gelu": lambda net, x: net.node("Gelu", x, name="op"),
    "Pad": lambda net, x: net.node("Pad", x, indices(net, "pads", 0, 0, 1, 1, 0, 0, 1, 1), name="op"),
    "ReduceMean": lambda net, x: net.node("ReduceMean", x, indices(net, "axes", 2, 3), name="op"),
    "Sub": lambda net, x: net.node("Sub", x, other(net, x), name="op"),
    "Tanh": lambda net, x: net.node("Tanh", x, name="op"),
}


def audited(build, path, shape=(1, 16, 8, 8)):
    net = Net(shape)
    output = net.pair(build(net, net.pair("x", "in")), "out")
    return CpuTarget().audit(net.save(output, path / "operator.onnx"))


@pytest.mark.parametrize("operator", sorted(IMAGE))
def test_operator_runs_on_integers(operator, tmp_path):
    assert audited(IMAGE[operator], tmp_path).placement["op"] == "integer"


@pytest.mark.parametrize("product", ["Gemm", "MatMul"])
def test_matrix_product_of_vectors_runs_on_integers(product, tmp_path):
    found = audited(
        lambda net, x: net.node(product, x, weight(net, (64, 8)), name="op"), tmp_path, shape=(1, 64)
    )
    assert found.placement["op"] == "integer"
    assert found.float_compute_nodes == 0


@pytest.mark.parametrize("operator", ["Relu", "Clip"])
def test_activation_is_absorbed_by_a_pair_with_the_lowest_zero_point(operator, tmp_path):
    net = Net()
    product = net.node("Conv", net.pair("x", "in"), weight(net, (16, 16, 3, 3)), name="conv", pads=[1] * 4)
    bounds = (
        [net.constant("low", np.float32(0)), net.constant("high", np.float32(6))]
        if operator == "Clip"
        else []
    )
    output = net.pair(net.node(operator, product, *bounds, name="op"), "out", scale=6 / 255, zero=0)
    found = CpuTarget().audit(net.save(output, tmp_path / "absorbed.onnx"))
    assert found.placement == {"conv": "integer", "op": "moved away"}
    assert (found.float_compute_nodes, found.stray_qdq) == (0, 0)


def test_every_named_operator_is_tested():
    assert set(IMAGE) | {"Gemm", "Relu", "Clip"} == ARITHMETIC | MOVEMENT | ABSORBED


@pytest.mark.parametrize("operator", sorted(FLOAT))
def test_operator_without_a_kernel_is_named(operator, tmp_path):
    found = audited(FLOAT[operator], tmp_path)
    assert operator not in ARITHMETIC | MOVEMENT
    assert found.float_compute_nodes >= (operator != "Pad")
    named = [finding for finding in found.findings if finding.node == "op"]
    assert len(named) == 1
    assert "no integer kernel" in named[0].what


def test_onnxruntime_agrees_with_itself_without_its_optimizer(tmp_path):
    from targets.cpu.runtime import OrtRunner

    net = Net()
    path = net.save(net.pair(IMAGE["Conv"](net, net.pair("x", "in")), "out"), tmp_path / "conv.onnx")
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 16, 8, 8)).astype(np.float32)}
    optimized, plain = (
        next(iter(OrtRunner(path, optimization=level).run(feeds).values())) for level in ("all", "none")
    )
    assert np.abs(optimized - plain).max() <= 0.05 + 1e-6  # one step of the output's grid
    assert onnx.load(path).opset_import[0].version == 21
