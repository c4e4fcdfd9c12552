"""The normalization layers: EvoNorm is its formula, models are built with each, and the default stays as it was."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from edgekit import zoo
from edgekit.analysis.coupling import coupled_groups
from edgekit.errors import BadInput
from edgekit.export.to_onnx import to_onnx
from edgekit.registry import models
from edgekit.testing import check_model
from edgekit.transforms.channels import keep_channels
from edgekit.zoo.norm import KINDS, EvoNorm, norm1d, norm2d, normalized

BY_NORM = ("resnet8", "resnet18", "mobilenet_v1", "ds_cnn", "cnv", "gn_lenet")
SMALL = {
    "resnet8": {"width": 8},
    "resnet18": {"width": 8, "small_input": True, "num_classes": 10},
    "mobilenet_v1": {"width": 0.1},
    "ds_cnn": {"width": 16},
    "cnv": {"width": 8},
    "gn_lenet": {"width": 8},
}
SHAPES = {"resnet18": (3, 32, 32), "mobilenet_v1": (3, 32, 32)}


def small(name: str, **options) -> nn.Module:
    torch.manual_seed(0)
    return models.get(name)(**SMALL[name], **options)


def shape_of(name: str) -> tuple[int, ...]:
    return SHAPES.get(name, zoo.input_shape(name))


def drawn(layer: EvoNorm) -> EvoNorm:
    """Any v, weight and bias, in float64."""
    chance = torch.Generator().manual_seed(1)
    for value in layer.parameters():
        value.data = torch.randn(value.shape, generator=chance, dtype=torch.float64)
    return layer.double()


def by_loops(layer: EvoNorm, x: torch.Tensor) -> torch.Tensor:
    """x sigmoid(v x) / std_g(x) * weight + bias, sample by sample and channel by channel."""
    y, size = torch.empty_like(x), x.shape[1] // layer.groups
    for sample in range(x.shape[0]):
        for channel in range(x.shape[1]):
            first = channel // size * size
            group = x[sample, first : first + size]
            std = math.sqrt(float(((group - group.mean()) ** 2).mean()) + layer.eps)
            value = x[sample, channel]
            gate = 1 / (1 + torch.exp(-layer.v[channel] * value))
            y[sample, channel] = value * gate / std * layer.weight[channel] + layer.bias[channel]
    return y


@pytest.mark.parametrize(
    ("groups", "shape"), [(2, (3, 8, 5, 4)), (8, (2, 8, 3, 3)), (1, (2, 6, 4, 4)), (4, (3, 12))]
)
def test_evonorm_is_its_formula(groups, shape):
    layer = drawn(EvoNorm(groups, shape[1]))
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 1
    torch.testing.assert_close(layer(x), by_loops(layer, x), rtol=1e-10, atol=1e-10)


def test_gradients_of_evonorm_are_those_of_finite_differences():
    layer = drawn(EvoNorm(2, 4))
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    names = ("v", "weight", "bias")

    def run(x, *values):
        return functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *(getattr(layer, name) for name in names)))


def test_a_sample_of_equal_values_has_a_finite_gradient():
    x = torch.full((2, 8, 4, 4), 0.3, requires_grad=True)
    EvoNorm(8, 8)(x).sum().backward()
    assert x.grad.isfinite().all()


def test_evonorm_starts_as_swish_over_the_deviation_and_has_no_statistics():
    layer = EvoNorm(1, 4)
    x = torch.randn(1, 4, 16, 16)
    torch.testing.assert_close(layer(x), nn.functional.silu(x) / x.std(correction=0), rtol=1e-4, atol=1e-5)
    assert list(layer.buffers()) == []


def test_a_negligible_eps_makes_large_inputs_scale_free():
    """Where the gate is open, x sigmoid(v x) is x: then y does not depend on the scale of x."""
    x = torch.rand(2, 8, 6, 6, dtype=torch.float64) + 50
    layer = EvoNorm(2, 8).double()
    torch.testing.assert_close(layer(x), layer(7 * x), rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ["gn_lenet", "resnet8"])
def test_batched_gradients_are_those_of_one_after_the_other(name):
    model = small(name, norm="evonorm", **({"image_size": 8} if name == "gn_lenet" else {})).double()
    weights = {key: value.detach() for key, value in model.named_parameters()}
    rows = {key: torch.stack([value, value * 1.1, value - 0.01]) for key, value in weights.items()}
    x, y = torch.randn(3, 4, 3, 8, 8, dtype=torch.float64), torch.randint(0, 5, (3, 4))

    def loss(own, x, y):
        return nn.functional.cross_entropy(functional_call(model, own, (x,)), y)

    together = vmap(grad(loss))(rows, x, y)
    for row in range(3):
        own = {key: value[row].clone().requires_grad_() for key, value in rows.items()}
        apart = torch.autograd.grad(loss(own, x[row], y[row]), list(own.values()))
        for key, value in zip(own, apart, strict=True):
            torch.testing.assert_close(together[key][row], value, rtol=1e-8, atol=1e-10)


# models with each kind


@pytest.mark.parametrize("norm", ["evonorm", "none"])
@pytest.mark.parametrize("name", [name for name in BY_NORM if name != "resnet18"])  # whose blocks resnet8 has
def test_a_model_with_each_norm_holds_the_kit(name, norm):
    make = lambda: models.get(name)(**SMALL[name], norm=norm)  # noqa: E731
    make.__doc__ = models.get(name).__doc__
    example = {"input": torch.randn(1, *shape_of(name), generator=torch.Generator().manual_seed(0))}
    assert {row.check: row.detail for row in check_model(make, example=example) if not row.ok} == {}


@pytest.mark.parametrize("name", BY_NORM)
def test_evonorm_takes_the_place_of_norm_and_activation(name):
    model = small(name, norm="evonorm")
    kinds = [type(module) for module in model.modules()]
    assert EvoNorm in kinds
    assert nn.ReLU not in kinds
    assert list(model.buffers()) == []


def test_evonorm_is_exported_without_shapes_computed_at_run_time():
    graph = to_onnx(small("gn_lenet", norm="evonorm"), {"input": torch.randn(1, 3, 32, 32)})
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {"Relu", "Shape", "Expand", "EyeLike"}


@pytest.mark.parametrize("name", BY_NORM)
def test_without_a_norm_each_layer_before_has_its_bias(name):
    """The 1x1 shortcuts of resnet8 alone have none, with any norm: the branch beside them has one."""
    model = small(name, norm="none")
    layers = {key: value for key, value in model.named_modules() if isinstance(value, (nn.Conv2d, nn.Linear))}
    assert all("shortcut" in key for key, value in layers.items() if value.bias is None)
    assert list(model.buffers()) == []


@pytest.mark.parametrize("name", BY_NORM)
def test_names_of_weights_are_the_same_with_every_norm_that_has_them(name):
    batch, group, evonorm = (
        {key for key, _ in small(name, norm=norm).named_parameters()}
        for norm in ("batch", "group", "evonorm")
    )
    assert batch == group
    assert {key for key in evonorm if not key.endswith(".v")} == group


def test_names_that_saved_weights_rely_on():
    lenet = list(models.get("gn_lenet")().state_dict())
    assert lenet[:4] == ["features.0.weight", "features.0.bias", "features.2.weight", "features.2.bias"]
    assert lenet[-4:] == ["features.10.weight", "features.10.bias", "fc.weight", "fc.bias"]
    residual = list(models.get("resnet8")().state_dict())
    assert residual[:2] == ["stem.0.weight", "stem.1.weight"]
    assert {"stages.0.bn1.running_mean", "stages.1.conv2.weight", "stages.2.shortcut.weight"} <= set(residual)
    wide = models.get("cnv")().state_dict()
    assert {"features.1.running_var", "hidden.1.running_mean", "hidden.3.weight", "hidden.4.bias"} <= set(
        wide
    )


# pruning


@pytest.mark.parametrize("name", BY_NORM)
def test_every_entry_of_evonorm_leaves_with_its_channel(name):
    model = small(name, norm="evonorm").eval()
    example = {"input": torch.randn(1, *shape_of(name))}
    group = max(
        (found for found in coupled_groups(model, example) if not found.blocked),
        key=lambda found: found.width,
    )
    norms = {member.layer for member in group.members if member.layer.endswith(".v")}
    assert norms
    kept: dict[str, dict[str, list[int]]] = {}
    for member in group.members:
        gone = set(member.channels[member.units < 3].tolist())
        kept.setdefault(member.layer, {})[member.side] = [c for c in range(member.width) if c not in gone]
    cut = keep_channels(model, kept)
    assert cut(torch.randn(2, *shape_of(name))).isfinite().all()
    for path in norms:
        layer = cut.get_submodule(path.removesuffix(".v"))
        assert layer.v.shape == layer.weight.shape == layer.bias.shape


# the helpers


def test_groups_are_the_largest_that_divide():
    assert [norm2d("group", channels).num_groups for channels in (16, 12, 7)] == [8, 4, 1]
    assert [norm2d("evonorm", channels).groups for channels in (16, 12, 7)] == [8, 4, 1]
    assert norm2d("evonorm", 6, groups=2).groups == 2


def test_what_follows_a_norm():
    relu = nn.ReLU()
    for kind in KINDS:
        norm, after = normalized(kind, 4, relu)
        assert isinstance(norm, nn.Identity) == (kind == "none")
        assert (after is relu) == (kind != "evonorm")
    assert isinstance(normalized("batch", 4, relu, norm=norm1d)[0], nn.BatchNorm1d)


@pytest.mark.parametrize("make", [norm1d, norm2d])
def test_an_unknown_kind_is_answered_with_the_nearest(make):
    with pytest.raises(BadInput, match=r"norm: 'evonrm' is unknown. Did you mean 'evonorm'"):
        make("evonrm", 4)
