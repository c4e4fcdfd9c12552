"""The lint: every form that FINN has no low-bit form of is named with its remedy; FINN's own networks are silent."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.nn import functional as F

from edgekit import zoo
from edgekit.export.to_onnx import to_onnx
from edgekit.registry import models
from edgekit.target import Board, Finding
from edgekit.testing.sample import sample_graph
from targets.fpga import FpgaTarget

TARGET = FpgaTarget()
BOARD = Board("x", "x", "fpga")


def lint(model: onnx.ModelProto) -> list[Finding]:
    return TARGET.lint(model, TARGET.caps(BOARD))


def graph_of(model: nn.Module, shape: tuple[int, ...] = (3, 16, 16), **options) -> onnx.ModelProto:
    return to_onnx(model.eval(), {"input": torch.zeros(1, *shape)}, **options)


class Net(nn.Module):
    """Convolution and ReLU, what is asked, then a head."""

    def __init__(self, call, *modules: nn.Module, features: int | None = None) -> None:
        super().__init__()
        self.first, self.more, self.call = nn.Conv2d(3, 8, 3, padding=1), nn.ModuleList(modules), call
        self.head = nn.Linear(features, 4) if features else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.flatten(self.call(F.relu(self.first(x)), *self.more), 1)
        return x if self.head is None else self.head(x)


def module(layer: nn.Module) -> Net:
    return Net(lambda x, layer: layer(x), layer)


@pytest.mark.parametrize("name", ["tfc", "sfc", "lfc", "cnv", "mlp", "fc_autoencoder"])
def test_finn_s_own_networks_are_silent(name):
    assert lint(graph_of(models.get(name)(), zoo.input_shape(name))) == []


def test_a_batchnorm_that_is_not_fused_is_silent_too():
    assert lint(graph_of(models.get("cnv")(width=8), (3, 32, 32), fuse=False)) == []


ERRORS = {
    "silu": (Net(lambda x: F.silu(x)), "no low-bit form", "Use Relu"),
    "hardswish": (Net(lambda x: F.hardswish(x)), "HardSwish", "Use Relu"),
    "gelu": (Net(lambda x: F.gelu(x)), "no low-bit form", "Use Relu"),
    "sigmoid": (Net(lambda x: torch.sigmoid(x), features=2048), "Sigmoid has no low-bit form", "Use Relu"),
    "softmax inside": (
        Net(lambda x: F.softmax(x, 1), features=2048),
        "Softmax has no low-bit form",
        "Leave it out",
    ),
    "gate": (
        Net(lambda x: x * x.mean((2, 3), keepdim=True)),
        "a product of two activations",
        "Leave the gate",
    ),
    "concatenation": (Net(lambda x: torch.cat([x, x], 1)), "Concat has no low-bit form", "Add the branches"),
    "transposed": (module(nn.ConvTranspose2d(8, 4, 2, 2)), "ConvTranspose has no", "Keep the decoder"),
    "layer norm": (module(nn.LayerNorm([8, 16, 16])), "LayerNormalization has no", "Use BatchNormalization"),
    "group norm": (module(nn.GroupNorm(2, 8)), "Normalization has no low-bit form", "Use BatchNormalization"),
    "groups": (module(nn.Conv2d(8, 8, 3, groups=2)), "grouped convolution (2 groups", "Use groups=1"),
    "multiplier": (module(nn.Conv2d(8, 16, 3, groups=8)), "16 outputs, 1 inputs a group", "Use groups=1"),
    "padded average": (module(nn.AvgPool2d(3, padding=1)), "windows of 3x3, padded", "without padding"),
    "long average": (module(nn.AvgPool2d((2, 4))), "windows of 2x4", "square windows"),
    "mean of channels": (
        Net(lambda x: x.mean(1, keepdim=True)),
        "something else than height and width",
        "Pool images",
    ),
    "attention": (Net(lambda x: x @ x.transpose(2, 3)), "multiplies two activations", "Keep attention off"),
    "transpose": (Net(lambda x: x.permute(0, 2, 3, 1)), "Transpose has no low-bit form", "Keep the layout"),
    "upsampling": (module(nn.Upsample(scale_factor=2)), "Resize has no low-bit form", "off the FPGA"),
    "reflection": (module(nn.ReflectionPad2d(1)), "Pad has no low-bit form", "Pad in the convolution"),
}
WARNINGS = {
    "residual": (
        Net(lambda x, a: F.relu(x + a(x)), nn.Conv2d(8, 8, 1)),
        "a residual addition",
        "Build with finn-plus",
    ),
    "bottleneck": (
        Net(lambda x, a, b: b(a(x)), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 3)),
        "its input has a sign: it comes from Conv 'more.0'",
        "Put a ReLU behind 'more.0'",
    ),
    "pooling first": (
        Net(lambda x, a, b: F.relu(b(F.max_pool2d(a(x), 2))), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)),
        "it pools before the activation",
        "behind the activation",
    ),
    "softmax last": (Net(lambda x: F.softmax(torch.flatten(x, 1), 1)), "Softmax has no", "Leave it out"),
}
NOTES = {
    "dilation": (module(nn.Conv2d(8, 8, 3, dilation=2)), "a dilated convolution", "second 3x3"),
    "average": (
        Net(lambda x: x.mean((2, 3)), features=8),
        "the average over 16x16 is floored",
        "Train at low bits",
    ),
}


@pytest.mark.parametrize(
    ("severity", "case"),
    [
        (word, case)
        for word, cases in (("error", ERRORS), ("warning", WARNINGS), ("note", NOTES))
        for case in cases
    ],
)
def test_each_bad_form_is_named(severity, case):
    net, what, remedy = {**ERRORS, **WARNINGS, **NOTES}[case]
    graph = graph_of(net, fuse=case != "pooling first")
    found = [item for item in lint(graph) if what in item.what and item.severity == severity]
    assert found, lint(graph)
    assert found[0].node in {node.name for node in graph.graph.node}
    assert remedy in found[0].remedy
    if severity == "error":
        assert lint(graph)[0].severity == "error"


@pytest.mark.parametrize(
    "net",
    [
        module(nn.Conv2d(8, 8, 3, groups=8)),
        module(nn.Conv2d(8, 8, (5, 3), stride=2, padding=(2, 1))),
        module(nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 8, 3, 2))),
        module(nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU6(), nn.MaxPool2d(3, 2, 1))),
        module(nn.Sequential(nn.Conv2d(8, 8, 3), nn.MaxPool2d(2), nn.ReLU())),
        module(nn.Sequential(nn.Conv2d(8, 8, 3), nn.Dropout(), nn.ReLU())),
    ],
)
def test_what_finn_takes_is_silent(net):
    assert lint(graph_of(net)) == []


def test_a_map_that_is_not_square_needs_the_other_steps():
    found = lint(graph_of(models.get("ds_cnn")(), (1, 49, 10)))
    assert [item.severity for item in found] == ["warning"]
    assert "a map of 25x5" in found[0].what


def test_the_conformance_network_has_no_error():
    assert [item.severity for item in lint(sample_graph())] == ["warning", "note"]


def test_a_free_size_and_a_graph_without_layers():
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, "height", 8])  # noqa: E731
    model = helper.make_model(helper.make_graph([node], "g", [value("x")], [value("y")]))
    found = lint(model)
    assert "no convolution and no matrix product" in found[0].what
    assert "free dimensions (height)" in found[1].what


def test_a_convolution_over_one_axis():
    class Wave(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(3, 4, 3)

        def forward(self, x):
            return self.conv(x)

    found = lint(graph_of(Wave(), (3, 16)))
    assert (found[0].severity, found[0].layer) == ("error", "conv")
    assert "over 1 axes" in found[0].what
