"""The integer reference against onnxruntime on the same file, and its operators against torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from whole_way import SATURATES

from edgekit.errors import BadInput
from edgekit.quant import reference_operators as operators
from edgekit.quant.reference import IntegerReference


class Builder:
    """A float graph, node by node, with random weights."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"node_{name}", **attributes))
        return name

    def weight(self, *shape: int) -> str:
        value = self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)
        self.weights.append(numpy_helper.from_array(value.astype(np.float32), f"weight{len(self.weights)}"))
        return self.weights[-1].name

    def constant(self, values: list[int]) -> str:
        self.weights.append(
            numpy_helper.from_array(np.array(values, np.int64), f"constant{len(self.weights)}")
        )
        return self.weights[-1].name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 3, **attributes) -> str:
        group = attributes.get("group", 1)
        weight = self.weight(outputs, inputs // group, kernel, kernel)
        return self.node("Conv", x, weight, self.weight(outputs), kernel_shape=[kernel] * 2, **attributes)

    def model(self, shape: list[int], output: str) -> onnx.ModelProto:
        value = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)  # noqa: E731
        made = helper.make_graph(
            self.nodes, "net", [value("x", ["N", *shape])], [value(output, None)], self.weights
        )
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def residual() -> onnx.ModelProto:
    net = Builder()
    x = net.node("Relu", net.conv("x", 3, 16, pads=[1] * 4))
    y = net.conv(net.node("Relu", net.conv(x, 16, 16, pads=[1] * 4)), 16, 16, pads=[1] * 4)
    x = net.node("Relu", net.node("Add", x, y))
    y = net.node("Relu", net.conv(x, 16, 32, pads=[1] * 4, strides=[2, 2]))
    x = net.node(
        "Relu", net.node("Add", net.conv(y, 32, 32, pads=[1] * 4), net.conv(x, 16, 32, 1, strides=[2, 2]))
    )
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model([3, 16, 16], net.node("Gemm", x, net.weight(10, 32), net.weight(10), transB=1))


def separable() -> onnx.ModelProto:
    net = Builder()
    x = net.node(
        "Clip", net.conv("x", 3, 8, pads=[0, 0, 1, 1], strides=[2, 2]), limit(net, 0.0), limit(net, 6.0)
    )
    x = net.node("Relu", net.conv(x, 8, 8, pads=[2] * 4, dilations=[2, 2], group=8))
    x = net.node("Relu", net.conv(x, 8, 16, group=2, pads=[1, 0, 2, 1]))
    x = net.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x = net.node("Reshape", x, net.constant([0, -1]))
    return net.model([3, 17, 17], net.node("MatMul", x, net.weight(16 * 5 * 4, 7)))


def limit(net: Builder, value: float) -> str:
    net.weights.append(numpy_helper.from_array(np.array(value, np.float32), f"limit{len(net.weights)}"))
    return net.weights[-1].name


def dense() -> onnx.ModelProto:
    net = Builder()
    x = net.node("Relu", net.conv("x", 3, 8, pads=[1] * 4))
    y = net.node("Relu", net.conv(x, 8, 8, pads=[1] * 4))
    x = net.node("Concat", x, y, axis=1)
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x = net.node("Mul", x, net.node("Sigmoid", net.conv(x, 16, 16, 1)))
    x = net.node("Transpose", x, perm=[0, 2, 3, 1])
    x = net.node("ReduceMean", x, axes=[1, 2], keepdims=0)
    return net.model([3, 12, 12], net.node("Gemm", x, net.weight(16, 5), net.weight(5)))


class Reader(CalibrationDataReader):
    def __init__(self, batches: list[np.ndarray]) -> None:
        self.left = [{"x": batch} for batch in batches]

    def get_next(self):
        return self.left.pop() if self.left else None


def session(model: onnx.ModelProto, optimize: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize("make", [residual, separable, dense])
@pytest.mark.parametrize("per_channel", [True, False])
def test_agrees_with_onnxruntime_within_one_step(make, per_channel, tmp_path: Path):
    model = make()
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    images = np.random.default_rng(1).normal(size=(32, *shape)).astype(np.float32)
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        Reader([images]),
        per_channel=per_channel,
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=SATURATES,
        extra_options={"ForceQuantizeNoInputCheck": True},
    )
    quantized = onnx.load(tmp_path / "int8.onnx")
    steps = [node.output[0] for node in quantized.graph.node if node.op_type == "QuantizeLinear"]
    assert len(steps) > 5
    probe = onnx.ModelProto()
    probe.CopyFrom(quantized)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in steps)
    reference = IntegerReference(quantized)
    found = reference.run({"x": images}, also=tuple(steps))
    output = quantized.graph.output[0].name
    for optimize in (False, True):
        runtime = session(probe, optimize)
        theirs = dict(
            zip([item.name for item in runtime.get_outputs()], runtime.run(None, {"x": images}), strict=True)
        )
        layers = reference.run({"x": images}, also=tuple(steps), given={name: theirs[name] for name in steps})
        for name in steps:
            apart = np.abs(layers[name] - theirs[name].astype(np.int64))
            assert apart.max() <= 1, name  # each layer on the runtime's own integers
            # A mean over 4 or 6 equal steps is often an exact tie, which float sums break at will.
            assert (apart > 0).mean() < (0.05 if name.startswith("averagepool") else 0.002), name
            assert np.abs(found[name] - theirs[name].astype(np.int64)).max() <= 2, name  # after all layers
        assert np.array_equal(found[output].argmax(1), theirs[output].argmax(1))
    exact = session(model, False).run(None, {"x": images})[0]
    assert np.corrcoef(found[output].ravel(), exact.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("stride", "dilation", "group", "pads"),
    [(1, 1, 1, (0, 0, 0, 0)), (2, 1, 2, (1, 0, 2, 1)), (1, 2, 4, (2, 2, 2, 2)), (3, 1, 1, (0, 1, 0, 2))],
)
def test_convolution_equals_torch_and_stays_exact_in_integers(stride, dilation, group, pads):
    rng = np.random.default_rng(2)
    x, weight = rng.integers(-255, 256, (2, 8, 9, 11)), rng.integers(-127, 128, (12, 8 // group, 3, 3))
    attributes = {"strides": [stride] * 2, "dilations": [dilation] * 2, "group": group, "pads": list(pads)}
    found = operators.conv(x, weight, attributes)
    padded = F.pad(torch.from_numpy(x).double(), (pads[1], pads[3], pads[0], pads[2]))
    expected = F.conv2d(
        padded, torch.from_numpy(weight).double(), stride=stride, dilation=dilation, groups=group
    )
    assert found.dtype == np.int64
    assert np.array_equal(found, expected.numpy())


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (3, 3, 0), (2, 3, 1)])
@pytest.mark.parametrize("size", [7, 8, 9])
def test_pools_equal_torch(kernel, stride, pad, ceil_mode, size):
    x = np.random.default_rng(3).integers(-99, 99, (2, 3, size, size + 1))
    attributes = {
        "kernel_shape": [kernel] * 2,
        "strides": [stride] * 2,
        "pads": [pad] * 4,
        "ceil_mode": int(ceil_mode),
    }
    real = torch.from_numpy(x).double()
    expected = F.max_pool2d(real, kernel, stride, pad, ceil_mode=ceil_mode)
    assert np.array_equal(operators.max_pool([x], attributes), expected.numpy())
    for include in (False, True):
        if include and ceil_mode:  # torch and ONNX count what ceil_mode adds differently
            continue
        total, count = operators.average_pool([x], {**attributes, "count_include_pad": int(include)})
        expected = F.avg_pool2d(real, kernel, stride, pad, ceil_mode=ceil_mode, count_include_pad=include)
        np.testing.assert_allclose(total / count, expected.numpy(), rtol=1e-12)


def test_same_padding_is_that_of_onnxruntime():
    net = Builder()
    model = net.model([3, 8, 7], net.conv("x", 3, 4, strides=[2, 2], auto_pad="SAME_UPPER"))
    x = np.random.default_rng(4).normal(size=(2, 3, 8, 7)).astype(np.float32)
    expected = session(model, False).run(None, {"x": x})[0]
    found = IntegerReference(model).run({"x": x})[model.graph.output[0].name]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_unknown_operators_and_missing_inputs_are_one_line():
    net = Builder()
    with pytest.raises(BadInput, match="'node_det0': the operator Det is not known"):
        IntegerReference(net.model([3, 3], net.node("Det", "x")))
    with pytest.raises(BadInput, match="'x' is missing"):
        IntegerReference(residual()).run({})


def test_normalizations_equal_onnxruntime():
    net = Builder()
    x = net.node("InstanceNormalization", "x", net.weight(4), net.weight(4), epsilon=1e-3)
    net.weights.append(numpy_helper.from_array(np.array([0.5, 1.0, 2.0, 3.0], np.float32), "variance"))
    x = net.node("BatchNormalization", x, net.weight(4), net.weight(4), net.weight(4), "variance")
    model = net.model([4, 5, 5], net.node("HardSigmoid", x, alpha=0.3))
    value = np.random.default_rng(5).normal(size=(2, 4, 5, 5)).astype(np.float32)
    expected = session(model, False).run(None, {"x": value})[0]
    found = IntegerReference(model).run({"x": value})[model.graph.output[0].name]
    np.testing.assert_allclose(found, expected, atol=1e-5)
