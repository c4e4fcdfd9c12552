"""The swap: every width runs, weights and paths stay, plans replay, and what FINN has no form of is refused."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from low_bit_nets import GREY, batch_of, built, example, images
from torch import nn
from torch.nn import functional as F

from edgekit.errors import BadInput
from edgekit.fit import Hooks, cross_entropy, make_fit
from edgekit.quant.brevitas_quantizers import weight_options

pytest.importorskip("brevitas", reason="low-bit training needs brevitas (edgekit[fpga])")

from edgekit.quant.brevitas_layers import calibrate, resolve, swap

WIDTHS = [(1, 1), (1, 2), (2, 2), (4, 4), (8, 8)]
NOISE = [torch.randn(8, *GREY, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]


def levels(value: torch.Tensor) -> int:
    return len(value.detach().unique())


@pytest.mark.parametrize(("weights", "activations"), WIDTHS)
@pytest.mark.parametrize("name", ["tfc", "cnv", "forms"])
def test_every_width_trains_a_step(name, weights, activations):
    if name == "forms" and activations == 1:
        pytest.skip("its padding has no bipolar form")
    model = swap(built(name), example(), {"weights": weights, "activations": activations})
    calibrate(model, NOISE)
    output = model.train()(NOISE[0])
    assert output.shape == (8, 10)
    output.square().mean().backward()
    grads = {path: value.grad for path, value in model.named_parameters()}
    assert all(grads[path] is not None and grads[path].isfinite().all() for path in grads if "weight" in path)
    for path, module in model.named_modules():
        if type(module).__name__ in ("QuantConv2d", "QuantLinear"):
            assert levels(module.quant_weight().value) <= (2 if weights == 1 else 2**weights - 1), path


@pytest.mark.parametrize("name", ["tfc", "cnv", "forms"])
def test_8_bits_are_the_float_network_to_a_percent_and_it_is_left_alone(name):
    model = built(name)
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    low = swap(model, example(), {"weights": 8, "activations": 8, "per_channel": True})
    assert torch.equal(torch.get_rng_state(), random)
    calibrate(low, NOISE)
    with torch.no_grad():
        want, got = model(NOISE[0]), low(NOISE[0])
    assert (got - want).abs().max() < 0.05 * (want.max() - want.min())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    kept = low.state_dict()
    assert all(torch.equal(kept[key], state[key]) for key in state if "relu" not in key)


def test_float_weights_and_batchnorms_keep_their_paths():
    low = swap(built("forms"), example(), {})
    paths = dict(low.named_modules())
    assert type(paths["stem.1"]).__name__ == "QuantConv2d"
    assert isinstance(paths["stem.2"], nn.BatchNorm2d)
    assert {"relu", "relu_1", "relu_2", "relu_3"} <= set(paths)  # one module called twice, two functions
    assert type(paths["tanh"]).__name__ == "QuantHardTanh"
    assert paths["add_quantizer"].act_quant.bit_width() == 6
    assert paths["x_quantizer"].act_quant.bit_width() == 8
    assert not paths["relu_2"].act_quant.is_signed
    assert type(paths["pool"]).__name__ == "TruncAvgPool2d"


def test_overrides_first_and_last_reach_their_layers():
    plan = {
        "weights": 2,
        "activations": 2,
        "first": {"weights": 8},
        "last": {"weights": 6},
        "layers": {"hidden.3": {"weights": 3}, "hidden.5": {"activations": 5}},
    }
    low = swap(built("tfc"), example(), plan)
    paths = dict(low.named_modules())
    bits = [int(paths[path].weight_quant.bit_width()) for path in ("hidden.0", "hidden.3", "hidden.6", "fc")]
    assert bits == [8, 3, 2, 6]
    assert [int(paths[path].act_quant.bit_width()) for path in ("hidden.2", "hidden.5")] == [2, 5]


@pytest.mark.parametrize("name", ["cnv", "forms"])
def test_scales_are_powers_of_two_where_asked(name):
    low = swap(built(name), example(), {"power_of_two": True, "layers": {"*": {"weights": 3}}})
    calibrate(low, NOISE)
    scales = [
        module.act_quant.scale() if hasattr(module, "act_quant") else module.quant_weight().scale
        for module in low.modules()
        if type(module).__name__ in ("QuantReLU", "QuantIdentity", "QuantConv2d", "QuantLinear")
    ]
    exponents = torch.cat([scale.reshape(-1) for scale in scales]).log2()
    assert len(exponents) > 8
    assert torch.equal(exponents, exponents.round())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_weight_grid_fits_gaussian_weights(bits, per_channel):
    """Squared error over variance: 0.363 of the best 1-bit and 0.19 of the best 3-level quantizer (Max, 1960)."""
    from edgekit.quant.brevitas_quantizers import brevitas_nn

    torch.manual_seed(0)
    weight = torch.randn(8, 400)
    layer = brevitas_nn().QuantLinear(
        400, 8, bias=False, **weight_options(weight, bits, per_channel=per_channel, power_of_two=False)
    )
    with torch.no_grad():
        layer.weight.copy_(weight)
        error = (layer.quant_weight().value - weight).square().mean() / weight.square().mean()
    assert error < {1: 0.37, 2: 0.2, 4: 0.015, 8: 1e-3}[bits]


def test_one_epoch_lowers_the_loss_and_a_fresh_swap_takes_the_weights_over():
    data, plan = images(4000), {"weights": 2, "activations": 2}
    model = swap(built("tfc"), example(), plan)
    calibrate(model, data.calibration)
    x, y = next(iter(data.validation))

    def loss() -> float:
        with torch.no_grad():
            return float(cross_entropy(model.eval()(x), y))

    before = loss()
    model = make_fit(cross_entropy)(model, data.train, Hooks(epochs=1, lr=3e-3))
    assert loss() < 0.9 * before
    fresh = swap(built("tfc"), example(), json.loads(json.dumps(plan)))
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), model.eval()(x))


@pytest.mark.parametrize(
    "plan", [{}, {"weights": 1, "activations": 2, "per_channel": True}, {"power_of_two": True}]
)
def test_a_resolved_plan_is_its_own_and_replays(plan):
    model = built("forms")
    whole = resolve(model, example(), plan)
    assert json.loads(json.dumps(whole)) == whole == resolve(model, example(), whole)
    low, again = swap(model, example(), plan), swap(built("forms"), example(), whole)
    calibrate(low, NOISE)
    again.load_state_dict(low.state_dict())
    with torch.no_grad():
        assert torch.equal(low.eval()(NOISE[1]), again.eval()(NOISE[1]))


def test_a_swapped_model_may_be_copied_before_anything_ran():
    low = swap(built("cnv"), example(), {"weights": 2, "activations": 2})
    twin = copy.deepcopy(low)
    for model in (low, twin):
        calibrate(model, NOISE)
    with torch.no_grad():
        assert torch.equal(low.eval()(NOISE[0]), twin.eval()(NOISE[0]))


def test_calibration_covers_what_was_seen():
    low = swap(built("tfc"), example(), {"activations": 8})
    calibrate(low, [{"input": NOISE[0].numpy()}])
    scale = low.get_submodule("x_quantizer").act_quant.scale()
    assert float(scale.detach()) * 128 == pytest.approx(float(NOISE[0].abs().max()), rel=0.01)
    with pytest.raises(BadInput, match="no batch to calibrate with"):
        calibrate(low, [])


def test_real_images_keep_their_class_at_8_bits():
    data = images()
    model = make_fit(cross_entropy)(built("cnv").train(), data.train, Hooks(epochs=1, lr=3e-3))
    low = swap(model, example(), {"weights": 8, "activations": 8})
    calibrate(low, data.calibration)
    x = torch.from_numpy(batch_of(data, 200))
    with torch.no_grad():
        assert (low.eval()(x).argmax(1) == model.eval()(x).argmax(1)).float().mean() > 0.95


class Called(nn.Module):
    """A convolution, then what `call` does to its result."""

    def __init__(self, call, *modules: nn.Module) -> None:
        super().__init__()
        self.conv, self.more, self.call = nn.Conv2d(1, 4, 3), nn.ModuleList(modules), call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(self.conv(x), *self.more)


def branching(x: torch.Tensor) -> torch.Tensor:
    return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Called(lambda x: F.silu(x)), "'silu' (silu) has no low-bit form for FINN. Use nn.ReLU"),
        (Called(lambda x, act: act(x), nn.GELU()), "'more.0' (GELU) has no low-bit form"),
        (Called(lambda x, norm: norm(x), nn.GroupNorm(2, 4)), "Use BatchNorm"),
        (
            Called(lambda x: torch.cat([x, x], 1)),
            "'cat' (cat) has no low-bit form for FINN. Add the branches",
        ),
        (Called(lambda x: x * torch.sigmoid(x)), "'sigmoid' (sigmoid) has no low-bit form"),
        (Called(lambda x: x[:, :2]), "'getitem' (getitem) has no low-bit form"),
        (Called(lambda x: x + 1.0), "'add' adds something else than two activations"),
        (
            Called(lambda x, up: up(x), nn.ConvTranspose2d(4, 2, 2)),
            "'more.0' (ConvTranspose2d) has no low-bit form",
        ),
        (Called(lambda x, conv: conv(x), nn.Conv2d(4, 8, 3, groups=2)), "'more.0' has 2 groups"),
        (Called(lambda x, conv: conv(x), nn.Conv2d(4, 8, 3, groups=4)), "'more.0' has 4 groups"),
        (
            Called(lambda x, conv: conv(x), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
            "FINN pads zeros",
        ),
        (
            Called(lambda x, pad: pad(x), nn.ZeroPad2d(1)),
            "(ZeroPad2d) has no low-bit form for FINN. Pad in the",
        ),
        (Called(lambda x, pool: pool(x), nn.AvgPool2d(3, padding=1)), "FINN averages square windows"),
        (Called(lambda x, pool: pool(x), nn.AdaptiveAvgPool2d(2)), "pools to 2"),
        (Called(branching), "torch.fx cannot trace the model"),
        (nn.Sequential(nn.Flatten(), nn.ReLU()), "no Conv2d and no Linear"),
    ],
)
def test_what_has_no_form_is_named_in_one_line(model, message):
    with pytest.raises(BadInput) as caught:
        swap(model, example(), {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bipolar_values_are_neither_padded_nor_averaged():
    with pytest.raises(
        BadInput, match=r"'depthwise' pads bipolar values .*layers: \{'stem.3': \{activations: 2\}\}"
    ):
        swap(built("forms"), example(), {"activations": 1})
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(BadInput, match="'2' averages bipolar values"):
        swap(net, example(), {"activations": 1})
    swap(net, example(), {"activations": 1, "layers": {"1": {"activations": 2}}})


def test_a_map_that_is_not_square_is_averaged_then_quantized():
    net = nn.Sequential(
        nn.Conv2d(1, 4, (3, 5)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    low = swap(net, example(), {})
    assert isinstance(low.get_submodule("2"), nn.AdaptiveAvgPool2d)
    assert low.get_submodule("2_output").act_quant.bit_width() == 8


def test_an_average_reads_a_quantizer_of_its_own_behind_a_maximum():
    """FINN looks for the sign of what it averages at the node in front."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(3), nn.Flatten())
    low = swap(net, example(), {"activations": 3})
    names = [str(node.target) for node in low.graph.nodes if node.op == "call_module"]
    assert names == ["input_1_quantizer", "0", "1", "2", "3_input", "3", "4"]
    assert not low.get_submodule("3_input").act_quant.is_signed


def test_a_maximum_moves_behind_its_activation():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(4, 4, 1))
    low = swap(net, example(), {})
    assert [str(node.target) for node in low.graph.nodes if node.op == "call_module"][2:5] == ["1", "3", "2"]


def test_a_layer_that_is_called_twice_has_one_weight_and_an_input_quantizer_a_call():
    net = Called(lambda x, conv: conv(F.relu(conv(x))), nn.Conv2d(4, 4, 1))
    low = swap(net, example(), {})
    calibrate(low, NOISE)
    names = [str(node.target) for node in low.graph.nodes if node.op == "call_module"]
    assert names == ["x_quantizer", "conv", "more.0_input", "more.0", "relu", "more.0"]


def test_brevitas_absent_is_one_line(monkeypatch):
    import sys

    from edgekit.errors import MissingDependency

    monkeypatch.setitem(sys.modules, "brevitas.nn", None)
    with pytest.raises(MissingDependency, match=r"'brevitas'.*edgekit\[fpga\]"):
        swap(built("tfc"), example(), {})
