"""One set of sites: what is placed is what training fakes, the file carries and the runtime computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from whole_way import ARM, Whole, normal, run, settle

from edgekit.errors import BadInput
from edgekit.quant.quantization import Quantization, Scale
from edgekit.quant.reference import IntegerReference
from edgekit.quant.site import Site
from edgekit.quant.writer import written_sites
from edgekit.registry import models
from edgekit.target import find_target
from tests.zoo_families import FAMILIES, INPUT


class Twice(nn.Module):
    """One convolution called twice, on inputs of different ranges."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer, self.head = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3),
            nn.Conv2d(8, 4, 1),
        )

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.head(F.relu(self.layer(F.relu(self.layer(x)))))


class Tied(nn.Module):
    """Two convolutions with one weight; the output is a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.c.weight = self.b.weight

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


class Sum(nn.Module):
    """The input enters the last addition, which is the output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x)


class TwoInputs(nn.Module):
    """An image and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.eye, self.ear, self.head = nn.Conv2d(3, 8, 3), nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, image, speed):
        return self.head(F.relu(F.relu(self.eye(image)).mean((2, 3)) + self.ear(speed)))


class Block(nn.Module):
    """The fully connected half of a transformer block, on [n, tokens, features]."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.norm, self.up, self.act, self.down = nn.LayerNorm(16), nn.Linear(16, 32), act, nn.Linear(32, 16)
        self.head = nn.Linear(16, 5)
        nn.init.normal_(self.up.bias)  # a bias that counts: its sum is the layer's result, not the product

    def forward(self, x):
        return self.head((x + self.down(self.act(self.up(self.norm(x))))).mean(1))


class Features(nn.Module):
    """Two outputs, the second of which the first is computed from."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.Linear(16, 5)

    def forward(self, x):
        features = F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1)
        return self.head(features), features


class Norms(nn.Module):
    """Normalizations and activations that stay in float between integer convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1)
        self.bare, self.group = nn.GroupNorm(2, 4, affine=False), nn.GroupNorm(2, 4)

    def forward(self, x):
        return self.c(torch.tanh(self.group(self.b(F.elu(self.bare(self.a(x)))))))


class Moved(nn.Module):
    """Integer layers that read values which operators of float tensors have moved."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(4, 4, 3), nn.Linear(4 * 49, 5)

    def forward(self, x):
        x = F.max_pool2d(torch.tanh(x.permute(0, 3, 1, 2)), 2)[:, :, 1:8, :]
        return self.head(self.conv(F.pad(x, (1, 1, 1, 1))).flatten(1))


IMAGE = {"x": INPUT}
OWN = {
    "twice": (Twice, IMAGE),
    "tied": (Tied, IMAGE),
    "sum": (Sum, IMAGE),
    "two-inputs": (TwoInputs, {"image": (3, 8, 8), "speed": (6,)}),
    "block-gelu": (lambda: Block(nn.GELU()), {"x": (7, 16)}),
    "block-relu": (lambda: Block(nn.ReLU()), {"x": (7, 16)}),
    "features": (Features, IMAGE),
    "norms": (Norms, IMAGE),
    "moved": (Moved, {"x": (16, 14, 4)}),
}
ZOO = {
    "resnet8": ({"width": 8}, (3, 32, 32)),
    "mobilenet_v1": ({"width": 0.25}, (3, 32, 32)),
    "ds_cnn": ({}, (1, 49, 10)),
    "fc_autoencoder": ({}, (640,)),
    "mlp": ({}, (1, 28, 28)),
    "tfc": ({}, (1, 28, 28)),
    "gn_lenet": ({"width": 8}, (3, 32, 32)),
}
ALL = [*OWN, *FAMILIES, *ZOO]
MADE: dict[str, Whole] = {}


def whole(name: str) -> Whole:
    """The model by name, taken the whole way once for all tests."""
    if name not in MADE:
        torch.manual_seed(0)
        if name in OWN:
            model, shapes = OWN[name][0](), OWN[name][1]
        elif name in FAMILIES:
            model, shapes = FAMILIES[name](), IMAGE
        else:
            model, shapes = models.get(name)(**ZOO[name][0]), {"x": ZOO[name][1]}
        MADE[name] = Whole(settle(model), shapes, two_outputs=name == "features")
    return MADE[name]


def within(found: np.ndarray, expected: np.ndarray, whole: Whole, steps: float) -> bool:
    """Whether two outputs differ by no more than steps of the 8-bit grid over the expected range."""
    return float(np.abs(found - expected).max()) <= steps * float(np.ptp(expected)) / 255


@pytest.mark.parametrize("name", ALL)
def test_asked_placed_faked_and_written_sites_are_one_set(name):
    one = whole(name)
    placed = {*one.placement.activations.values(), *(site for site, _ in one.placement.weights.values())}
    assert len(placed) == len(one.placement.activations) + len(
        one.placement.weights
    )  # no two tensors share one
    output, seen = one.fake_run(one.feeds)
    assert placed == one.sites == seen == written_sites(one.file)
    assert np.isfinite(output).all()
    assert onnx.checker.check_model(one.file, full_check=True) is None


@pytest.mark.parametrize("name", ALL)
def test_every_layer_placed_in_integers_runs_in_integers(name, tmp_path: Path):
    one = whole(name)
    onnx.save(one.file, tmp_path / "int8.onnx")
    audit = find_target("cpu").audit(tmp_path / "int8.onnx")
    layers = [node for node in one.graph.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert {audit.placement[node.name] for node in layers if node.name in one.placement.integer_nodes} == {
        "integer"
    }
    assert all(node.name in one.placement.integer_nodes for node in layers)
    assert audit.integer_compute_nodes >= len(layers)


@pytest.mark.parametrize("name", ALL)
def test_the_written_file_computes_what_training_saw(name):
    """A tie that rounds the other way moves values downstream by a step or two; it does not add up."""
    one = whole(name)
    feeds = normal(one.shapes, 32, seed=7)
    file, fake = run(one.file, feeds), one.fake_run(feeds)[0]
    assert within(file, fake, one, 4)
    assert np.abs(file - fake).mean() <= 0.55 * np.ptp(fake) / 255
    if fake.ndim == 2:
        top = np.sort(fake, axis=1)
        clear = top[:, -1] - top[:, -2] > 3 * np.ptp(fake) / 255
        assert np.array_equal(file.argmax(1)[clear], fake.argmax(1)[clear])
    assert within(run(one.file, feeds, optimize=False), fake, one, 4)


@pytest.mark.parametrize(
    "name",
    [name for name in ALL if name not in ("block-gelu", "block-relu", "norms", "group_norm", "gn_lenet")],
)
def test_the_written_file_equals_the_integer_reference(name):
    one = whole(name)
    feeds = normal(one.shapes, 16, seed=8)
    found = IntegerReference(one.file).run(feeds)[one.file.graph.output[0].name]
    assert within(found, run(one.file, feeds), one, 1)


@pytest.mark.parametrize("name", ALL)
def test_the_file_is_near_the_float_graph(name):
    one = whole(name)
    real, file = run(one.graph, one.feeds), run(one.file, one.feeds)
    assert np.square(file - real).mean() < 0.02 * np.var(real)


@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "squeeze_excite", "dense_concat"])
def test_a_signed_grid_agrees_as_well(name):
    one = whole(name).anew(board=ARM)
    assert {scale.grid.signed for scale in one.quantization.activations.values()} == {True}
    file, (fake, seen) = run(one.file, one.feeds), one.fake_run(one.feeds)
    assert seen == one.sites == written_sites(one.file)
    assert within(file, fake, one, 3.5)


def test_a_changed_scale_changes_file_and_fake_alike():
    base = whole("residual")
    before = run(base.file, base.feeds), base.fake_run(base.feeds)[0]
    for site, scale in base.quantization.activations.items():
        coarse = {
            **base.quantization.activations,
            site: Scale(scale.grid, scale.scale * 40, scale.zero_point // 40),
        }
        one = base.with_scales(Quantization("int8", coarse, base.quantization.weights))
        file, fake = run(one.file, one.feeds) - before[0], one.fake_run(one.feeds)[0] - before[1]
        assert np.corrcoef(file.ravel(), fake.ravel())[0, 1] > 0.7, str(site)


def test_a_site_that_graph_and_model_lack_is_named():
    base = whole("residual")
    site, scale = Site("body.7", "conv", 0, "output"), next(iter(base.quantization.activations.values()))
    one = base.with_scales(
        Quantization("int8", {**base.quantization.activations, site: scale}, base.quantization.weights)
    )
    with pytest.raises(BadInput, match=r"never reached body\.7/conv#0:output"):
        one.fake_run(one.feeds)
    with pytest.raises(BadInput, match=r"the graph has no site body\.7/conv#0:output"):
        _ = one.file


@pytest.mark.parametrize(
    "site",
    [
        Site("", "input", 0, "input:a/b#1:c"),
        Site("/conv1/Conv", "conv", 0, "output"),
        Site("", "add", 3, "output"),
        Site("a#0:output/b", "conv", 3, "weight"),
        Site("", "input", 1, "input:serving/x:0"),
    ],
)
def test_a_site_survives_its_text(site):
    assert Site.parse(str(site)) == site
