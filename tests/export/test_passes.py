"""Every clean-up pass keeps the function and changes the structure."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.export import passes


def graph(nodes, constants, shape=(1, 3, 8, 8), out=None):
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        values,
    )
    return onnx.shape_inference.infer_shapes(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    )


def run(model, x):
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )[0]


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.fixture
def chance():
    return np.random.default_rng(0)


def same(model, x):
    before = run(model, x)
    passes.clean(model)
    onnx.checker.check_model(model)
    np.testing.assert_allclose(run(model, x), before, rtol=1e-4, atol=1e-5)


def test_pad_goes_into_the_convolution(chance):
    model = graph(
        [
            helper.make_node("Pad", ["x", "pads"], ["p"]),
            helper.make_node("Conv", ["p", "w"], ["y"], pads=[1, 0, 0, 1], strides=[2, 2]),
        ],
        {"pads": np.array([0, 0, 0, 1, 0, 0, 2, 1]), "w": chance.normal(size=(4, 3, 3, 3)).astype("f4")},
    )
    same(model, chance.normal(size=(1, 3, 8, 8)).astype("f4"))
    assert kinds(model) == ["Conv"]


@pytest.mark.parametrize("pads", [[0, 1, 0, 0, 0, 0, 0, 0], [0, 0, -1, 0, 0, 0, 0, 0]])
def test_a_pad_that_is_not_spatial_or_crops_stays(chance, pads):
    channels = 3 + pads[1]
    model = graph(
        [helper.make_node("Pad", ["x", "pads"], ["p"]), helper.make_node("Conv", ["p", "w"], ["y"])],
        {"pads": np.array(pads), "w": chance.normal(size=(4, channels, 3, 3)).astype("f4")},
    )
    same(model, chance.normal(size=(1, 3, 8, 8)).astype("f4"))
    assert kinds(model) == ["Pad", "Conv"]


def test_a_pad_with_a_value_stays(chance):
    model = graph(
        [helper.make_node("Pad", ["x", "pads", "one"], ["p"]), helper.make_node("Conv", ["p", "w"], ["y"])],
        {
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            "one": np.float32(1.0),
            "w": chance.normal(size=(4, 3, 3, 3)).astype("f4"),
        },
    )
    same(model, chance.normal(size=(1, 3, 8, 8)).astype("f4"))
    assert kinds(model) == ["Pad", "Conv"]


@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_spatial_mean_becomes_global_average_pooling(chance, keepdims):
    model = graph(
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=keepdims)],
        {"axes": np.array([-1, -2])},
    )
    same(model, chance.normal(size=(1, 3, 8, 8)).astype("f4"))
    assert kinds(model) == ["GlobalAveragePool"] + ([] if keepdims else ["Flatten"])


def test_a_mean_over_channels_stays(chance):
    model = graph([helper.make_node("ReduceMean", ["x", "axes"], ["y"])], {"axes": np.array([1])})
    same(model, chance.normal(size=(1, 3, 8, 8)).astype("f4"))
    assert kinds(model) == ["ReduceMean"]


def batchnorm(chance, channels):
    return {
        "g": chance.uniform(0.5, 2, channels).astype("f4"),
        "b": chance.normal(size=channels).astype("f4"),
        "m": chance.normal(size=channels).astype("f4"),
        "v": chance.uniform(0.5, 2, channels).astype("f4"),
    }


@pytest.mark.parametrize("bias", [True, False])
def test_batchnorm_folds_into_a_convolution(chance, bias):
    inputs = ["x", "w", *(["c"] if bias else [])]
    model = graph(
        [
            helper.make_node("Conv", inputs, ["h"]),
            helper.make_node("BatchNormalization", ["h", "g", "b", "m", "v"], ["y"]),
        ],
        {
            "w": chance.normal(size=(4, 3, 3, 3)).astype("f4"),
            "c": chance.normal(size=4).astype("f4"),
            **batchnorm(chance, 4),
        },
    )
    same(model, chance.normal(size=(1, 3, 8, 8)).astype("f4"))
    assert kinds(model) == ["Conv"]


@pytest.mark.parametrize(("transposed", "alpha", "beta"), [(0, 1.0, 1.0), (1, 1.0, 1.0), (1, 0.5, 2.0)])
def test_batchnorm_folds_into_a_gemm(chance, transposed, alpha, beta):
    shape = (6, 5) if transposed else (5, 6)
    model = graph(
        [
            helper.make_node("Gemm", ["x", "w", "c"], ["h"], transB=transposed, alpha=alpha, beta=beta),
            helper.make_node("BatchNormalization", ["h", "g", "b", "m", "v"], ["y"]),
        ],
        {
            "w": chance.normal(size=shape).astype("f4"),
            "c": chance.normal(size=6).astype("f4"),
            **batchnorm(chance, 6),
        },
        shape=(2, 5),
    )
    same(model, chance.normal(size=(2, 5)).astype("f4"))
    assert kinds(model) == ["Gemm"]


def test_a_batchnorm_whose_input_is_read_elsewhere_stays(chance):
    model = graph(
        [
            helper.make_node("Conv", ["x", "w"], ["h"]),
            helper.make_node("BatchNormalization", ["h", "g", "b", "m", "v"], ["n"]),
            helper.make_node("Add", ["h", "n"], ["y"]),
        ],
        {"w": chance.normal(size=(4, 3, 3, 3)).astype("f4"), **batchnorm(chance, 4)},
    )
    same(model, chance.normal(size=(1, 3, 8, 8)).astype("f4"))
    assert kinds(model) == ["Conv", "BatchNormalization", "Add"]
