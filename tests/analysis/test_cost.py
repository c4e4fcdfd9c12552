"""Costs of torch models and ONNX graphs against closed forms, and against each other."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from edgekit.analysis.cost import cost, layer_costs
from edgekit.analysis.graph_cost import graph_cost, peak_activation_bytes
from edgekit.change import Cost
from edgekit.errors import BadInput
from edgekit.zoo.mlp import mlp
from edgekit.zoo.mobilenet import mobilenet_v1
from edgekit.zoo.resnet import resnet8, resnet18


def resnet8_macs(width: int) -> int:
    """By hand: stem, three stages of two 3x3 convolutions, two 1x1 shortcuts, the classifier; 32x32
    inputs.
    """
    w = width
    stem = 32 * 32 * 9 * 3 * w
    first = 2 * 32 * 32 * 9 * w * w
    second = 16 * 16 * (9 * w * 2 * w + 9 * 4 * w * w + w * 2 * w)
    third = 8 * 8 * (9 * 2 * w * 4 * w + 9 * 16 * w * w + 2 * w * 4 * w)
    return stem + first + second + third + 4 * w * 10


@pytest.mark.parametrize("width", [16, 24])
def test_resnet8_is_its_closed_form(width):
    found = cost(resnet8(width=width), {"x": torch.randn(1, 3, 32, 32)})
    assert found.macs == resnet8_macs(width)
    assert found.bytes == 4 * found.params
    if width == 16:
        assert found.macs == pytest.approx(12.5e6, rel=0.001)


def test_resnet18_at_224_has_the_known_counts():
    found = cost(resnet18(), {"x": torch.randn(1, 3, 224, 224)})
    assert found.params == 11_689_512
    assert found.macs == pytest.approx(1.814e9, rel=0.001)


def test_a_batch_counts_as_one_sample():
    model = resnet8()
    assert cost(model, {"x": torch.randn(1, 3, 32, 32)}) == cost(model, {"x": torch.randn(4, 3, 32, 32)})


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.linear = nn.Parameter(torch.randn(8, 4)), nn.Linear(8, 8)

    def forward(self, x):
        y = self.linear(self.linear(F.linear(x, self.weight)))
        return y @ y.transpose(-1, -2)


def test_functional_and_repeated_calls_count():
    model, example = Functional(), {"x": torch.randn(1, 5, 4)}
    assert cost(model, example).macs == 5 * 4 * 8 + 2 * 5 * 8 * 8 + 5 * 8 * 5
    rows = {row.layer: row for row in layer_costs(model, example)}
    assert rows["linear"].macs == 2 * 5 * 8 * 8
    assert (rows[""].macs, rows[""].params) == (5 * 4 * 8 + 5 * 8 * 5, 32)


def test_layers_add_up_to_the_model():
    model, example = mobilenet_v1(), {"x": torch.randn(1, 3, 96, 96)}
    rows, whole = layer_costs(model, example), cost(model, example)
    assert sum(row.macs for row in rows) == whole.macs
    assert sum(row.params for row in rows) == whole.params


def test_the_reader_leaves_modes_and_hooks_alone():
    model = resnet8().train()
    model.stem.eval()
    cost(model, {"x": torch.randn(1, 3, 32, 32)})
    assert model.training
    assert not model.stem.training


def graph(nodes, initializers, *, shape=(1, 3, 8, 8), outputs=("y",)):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    built = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        values,
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", 21)])


def weights(*shape):
    return np.ones(shape, np.float32)


def test_every_product_operator_is_its_closed_form():
    model = graph(
        [
            helper.make_node("Conv", ["x", "w1", "b1"], ["a"], group=1, pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("Conv", ["a", "w2"], ["b"], group=6, pads=[1, 1, 1, 1]),
            helper.make_node("ConvTranspose", ["b", "w3"], ["c"], strides=[2, 2]),
            helper.make_node("Flatten", ["c"], ["d"]),
            helper.make_node("Gemm", ["d", "w4", "b4"], ["e"], transB=1),
            helper.make_node("MatMul", ["e", "w5"], ["y"]),
        ],
        {
            "w1": weights(6, 3, 3, 3),
            "b1": weights(6),
            "w2": weights(6, 1, 3, 3),
            "w3": weights(6, 2, 2, 2),
            "w4": weights(7, 128),
            "b4": weights(7),
            "w5": weights(7, 3),
        },
        shape=("N", 3, 8, 8),
    )
    macs = 4 * 4 * 6 * 27 + 4 * 4 * 6 * 9 + 4 * 4 * 6 * 2 * 4 + 7 * 128 + 7 * 3
    params = 6 * 27 + 6 + 6 * 9 + 6 * 8 + 7 * 128 + 7 + 21
    assert graph_cost(model) == Cost(params, macs, 4 * params)


def test_quantized_weights_are_counted_in_their_bytes_and_scales_are_not():
    model = graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
            helper.make_node("Conv", ["x", "w"], ["y"]),
        ],
        {"q": np.ones((6, 3, 1, 1), np.int8), "s": np.float32(0.1), "z": np.int8(0)},
    )
    assert graph_cost(model) == Cost(18, 64 * 18, 18)


def test_the_peak_of_a_chain_a_branch_and_a_view():
    relu = lambda a, b: helper.make_node("Relu", [a], [b])  # noqa: E731
    unit = 3 * 8 * 8 * 4
    assert peak_activation_bytes(graph([relu("x", "a"), relu("a", "b"), relu("b", "y")], {})) == 2 * unit
    skip = [relu("x", "a"), relu("a", "b"), relu("b", "c"), helper.make_node("Add", ["a", "c"], ["y"])]
    assert peak_activation_bytes(graph(skip, {})) == 3 * unit
    viewed = [relu("x", "a"), helper.make_node("Flatten", ["a"], ["f"]), relu("f", "y")]
    assert peak_activation_bytes(graph(viewed, {})) == 2 * unit
    kept = [relu("x", "a"), relu("a", "b"), relu("b", "c"), relu("c", "y")]
    assert peak_activation_bytes(graph(kept, {}, outputs=("a", "y"))) == 3 * unit


def test_constants_are_no_activations():
    model = graph(
        [helper.make_node("Relu", ["w"], ["folded"]), helper.make_node("Conv", ["x", "folded"], ["y"])],
        {"w": weights(6, 3, 1, 1)},
    )
    assert peak_activation_bytes(model) == (3 + 6) * 64 * 4


def test_an_unknown_shape_is_refused():
    model = graph(
        [
            helper.make_node("Mystery", ["x"], ["a"], domain="unknown"),
            helper.make_node("Conv", ["a", "w"], ["y"]),
        ],
        {"w": weights(6, 3, 1, 1)},
    )
    model.opset_import.append(helper.make_opsetid("unknown", 1))
    with pytest.raises(BadInput, match="shape of 'a' at node Conv cannot be inferred"):
        graph_cost(model)


@pytest.mark.parametrize(("make", "shape"), [(resnet8, (1, 3, 32, 32)), (mobilenet_v1, (1, 3, 96, 96))])
def test_torch_and_its_export_agree(make, shape, tmp_path):
    model, example = make().eval(), torch.randn(*shape)
    program = torch.onnx.export(model, (example,), dynamo=True, verbose=False)
    exported, found = program.model_proto, cost(model, {"x": example})
    assert graph_cost(exported).macs == found.macs
    # the exporter folds BatchNorm: one bias a channel is left of two parameters
    assert 0.95 * found.params < graph_cost(exported).params <= found.params


def test_mlp_is_its_closed_form():
    model = mlp()
    sizes = [
        (layer.in_features, layer.out_features) for layer in model.modules() if isinstance(layer, nn.Linear)
    ]
    found = cost(model, {"x": torch.randn(1, 1, 28, 28)})
    assert found.macs == sum(a * b for a, b in sizes)
    assert onnx.__version__
