"""Fake quantization: equal to the grid, gradients as published, sites as asked, the model left clean."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekit.errors import BadInput
from edgekit.quant.fake import faked
from edgekit.quant.intercept import Intercept, strip, trace
from edgekit.quant.learned import fake_channels, fake_tensor, fake_values
from edgekit.quant.observers import scale_for, weight_scale
from edgekit.quant.quantization import Quantization, Scale
from edgekit.quant.site import Site
from edgekit.target import Grid

UNSIGNED = Grid(8, signed=False, symmetric=False)
SIGNED = Grid(8, signed=True, symmetric=True)
WEIGHTS = Grid(8, signed=True, symmetric=True, per_channel=True)


class Net(nn.Module):
    """A shared module, functional add and cat, in-place operations, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.head = nn.Linear(16, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.act(self.stem(image))
        y = self.body(x)
        y += x
        y = self.act(y)
        z = torch.cat([y, F.max_pool2d(x, 3, 1, 1)], 1)
        return self.head(F.adaptive_avg_pool2d(z, 1).flatten(1))


SITES = [
    "stem/conv#0",
    "act/relu#0",
    "body.0/conv#0",
    "body.1/relu#0",
    "body.2/conv#0",
    "/add#0",
    "act/relu#1",
    "/max_pool#0",
    "/cat#0",
    "/mean#0",
    "head/linear#0",
]


def quantize(model: nn.Module, image: torch.Tensor, *, skip: tuple[str, ...] = ()) -> Quantization:
    """A scale for every site of `model` from the values in one forward."""
    seen: dict[Site, torch.Tensor] = {}

    class Keep:
        def begin(self, args, kwargs):
            return args, kwargs

        def call(self, site, function, args, kwargs):
            result = function(*args, **kwargs)
            seen[site] = result.clone()
            return result

        def end(self):
            pass

    intercept = Intercept(model, Keep())
    with torch.no_grad():
        model(image)
    intercept.remove()
    activations = {
        Site("", "input", 0, "input:image"): scale_for(float(image.min()), float(image.max()), UNSIGNED)
    }
    activations |= {
        site: scale_for(float(value.min()), float(value.max()), UNSIGNED)
        for site, value in seen.items()
        if site.operation not in skip
    }
    weights = {
        site._replace(port="weight"): weight_scale(
            model.get_submodule(site.module).weight.detach().numpy(), WEIGHTS
        )
        for site in seen
        if site.operation in ("conv", "linear")
    }
    return Quantization("int8", activations, weights)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def test_sites_of_shared_modules_functional_calls_and_inplace_operations(net, image):
    assert [str(site) for site in trace(net, image)] == [f"{site}:output" for site in SITES]


@pytest.mark.parametrize(
    ("module", "sites"),
    [
        (nn.Conv1d(3, 3, 1), ["conv"]),
        (nn.ConvTranspose2d(3, 3, 2), ["conv_transpose"]),
        (nn.ReLU6(), ["clip"]),
        (nn.Hardtanh(), ["clip"]),
        (nn.SiLU(), ["sigmoid", "mul"]),
        (nn.SiLU(inplace=True), ["sigmoid", "mul"]),
        (nn.Hardswish(), ["hardswish"]),
        (nn.Hardsigmoid(), ["hardsigmoid"]),
        (nn.LeakyReLU(), ["leaky_relu"]),
        (nn.Sigmoid(), ["sigmoid"]),
        (nn.Softmax(1), ["softmax"]),
        (nn.MaxPool2d(2), ["max_pool"]),
        (nn.AvgPool2d(2), ["avg_pool"]),
        (nn.AdaptiveAvgPool2d(1), ["mean"]),
        (nn.AdaptiveAvgPool2d(2), ["avg_pool"]),
        (nn.Upsample(scale_factor=2), ["resize"]),
        (nn.BatchNorm2d(3), ["batch_norm"]),
        (nn.Flatten(), []),
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), ["conv"]),
        (nn.Dropout(), []),
    ],
)
def test_every_module_is_one_call(module, sites):
    shape = (2, 3, 8) if isinstance(module, nn.Conv1d) else (2, 3, 8, 8)
    assert trace(module, torch.randn(*shape)) == [Site("", name, 0, "output") for name in sites]


class Wrap(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "site"),
    [
        (lambda x: x + x, "add"),
        (lambda x: torch.add(x, 1), "add"),
        (lambda x: 1 + x, "add"),
        (lambda x: x.add_(1), "add"),
        (lambda x: x - 1, "sub"),
        (lambda x: 1 - x, "sub"),
        (lambda x: 2 * x, "mul"),
        (lambda x: x.mul_(x), "mul"),
        (lambda x: x / 2, "div"),
        (lambda x: x @ x, "matmul"),
        (lambda x: torch.bmm(x[0], x[0]), "matmul"),
        (lambda x: torch.concat([x, x]), "cat"),
        (lambda x: torch.stack([x, x]), "cat"),
        (lambda x: x.relu(), "relu"),
        (lambda x: torch.relu_(x), "relu"),
        (lambda x: F.relu(x, inplace=True), "relu"),
        (lambda x: x.clamp(0, 6), "clip"),
        (lambda x: F.relu6(x), "clip"),
        (lambda x: x.mean((2, 3)), "mean"),
        (lambda x: torch.mean(x, 1), "mean"),
        (lambda x: F.sigmoid(x), "sigmoid"),
        (lambda x: F.interpolate(x, scale_factor=2), "resize"),
    ],
)
def test_every_spelling_is_one_call(function, site):
    assert trace(Wrap(function), torch.rand(2, 3, 8, 8)) == [Site("", site, 0, "output")]


def test_inplace_silu_changes_its_argument_and_has_the_right_gradient():
    x = torch.randn(5, requires_grad=True)
    with faked(model := Wrap(lambda x: F.silu(x.clone(), inplace=True)), Quantization()):
        model(x).sum().backward()
    y = x.detach().clone().requires_grad_()
    F.silu(y).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize(
    "grid", [UNSIGNED, SIGNED, Grid(4, signed=True, symmetric=False), Grid(8, reduced=True)]
)
def test_fake_equals_the_scale_bit_for_bit_and_is_a_fixed_point(grid):
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(2)) * 3
    scale = scale_for(-2.3, 4.1, grid)
    zero = int(scale.zero_point[0])
    limits = (float(grid.lowest - zero), float(grid.highest - zero))
    fake = fake_values(x, float(scale.scale[0]), limits)
    assert np.array_equal(fake.numpy(), scale.dequantize(scale.quantize(x.numpy())))
    assert torch.equal(fake_values(fake, float(scale.scale[0]), limits), fake)
    assert float(fake_values(torch.zeros(1), float(scale.scale[0]), limits)) == 0.0


@pytest.mark.parametrize("inplace", [False, True])
def test_gradients_are_those_of_learned_step_size_quantization(inplace):
    generator = torch.Generator().manual_seed(3)
    x = (torch.randn(6, 10, 7, 7, generator=generator) * 3).requires_grad_()
    log, scale, (low, high) = torch.zeros((), requires_grad=True), 0.02, (-100.0, 155.0)
    upstream = torch.randn(x.shape, generator=generator)
    result = fake_tensor(x * 1 if inplace else x, log, scale, (low, high), inplace=inplace)
    result.backward(upstream)
    steps = x.detach().double() / scale
    inside = (steps > low) & (steps < high)
    slope = torch.where(inside, steps.round() - steps, steps.clamp(low, high))
    published = (upstream * slope).sum() / np.sqrt(10 * 7 * 7 * high)  # Esser et al., 2020, eqs. 3 and 4
    assert torch.equal(x.grad, upstream * inside)
    assert 0.05 < float((~inside).float().mean()) < 0.6
    torch.testing.assert_close(float(log.grad) * scale, float(published), rtol=1e-3, atol=0.0)


def test_channel_gradients_are_those_of_learned_step_size_quantization():
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(4)).requires_grad_()
    scale, log = torch.tensor([0.02, 0.01, 0.005, 0.03]), torch.zeros(4, requires_grad=True)
    upstream = torch.randn(weight.shape)
    fake_channels(weight, log, scale, (-127.0, 127.0), 0).backward(upstream)
    for channel in range(4):
        steps = weight[channel].detach() / scale[channel]
        inside = steps.abs() < 127
        slope = torch.where(inside, steps.round() - steps, steps.clamp(-127, 127))
        expected = (upstream[channel] * slope).sum() / np.sqrt(27 * 127)
        torch.testing.assert_close(log.grad[channel] * scale[channel], expected, rtol=1e-4, atol=1e-6)
        assert torch.equal(weight.grad[channel], upstream[channel] * inside)


def by_hand(net: Net, quantization: Quantization, image: torch.Tensor) -> torch.Tensor:
    """The same forward written out with `Scale` alone."""

    def fake(name: str, value: torch.Tensor) -> torch.Tensor:
        scale = quantization.activations.get(Site.parse(f"{name}:output"))
        return value if scale is None else torch.from_numpy(scale.dequantize(scale.quantize(value.numpy())))

    def weight(name: str, module: nn.Module) -> torch.Tensor:
        scale = quantization.weights[Site.parse(f"{name}:weight")]
        return torch.from_numpy(scale.dequantize(scale.quantize(module.weight.detach().numpy())))

    with torch.no_grad():
        scale = quantization.activations[Site("", "input", 0, "input:image")]
        image = torch.from_numpy(scale.dequantize(scale.quantize(image.numpy())))
        x = fake("stem/conv#0", F.conv2d(image, weight("stem/conv#0", net.stem), net.stem.bias, padding=1))
        x = fake("act/relu#0", F.relu(x))
        first, _, last = net.body
        y = fake("body.0/conv#0", F.conv2d(x, weight("body.0/conv#0", first), first.bias, padding=1))
        y = fake("body.1/relu#0", F.relu(y))
        y = fake("body.2/conv#0", F.conv2d(y, weight("body.2/conv#0", last), last.bias))
        y = fake("act/relu#1", F.relu(fake("/add#0", y + x)))
        z = fake("/cat#0", torch.cat([y, fake("/max_pool#0", F.max_pool2d(x, 3, 1, 1))], 1))
        z = fake("/mean#0", F.adaptive_avg_pool2d(z, 1)).flatten(1)
        return fake("head/linear#0", F.linear(z, weight("head/linear#0", net.head), net.head.bias))


@pytest.mark.parametrize("skip", [(), ("conv",)])
def test_a_faked_model_equals_the_forward_written_out(net, image, skip):
    quantization = quantize(net, image, skip=skip)
    with faked(net.eval(), quantization) as fake:
        result = net(image)
        assert fake.sites_seen == {*quantization.activations, *quantization.weights}
        with torch.no_grad():
            assert torch.equal(net(image), result)
    assert torch.equal(result, by_hand(net, quantization, image))


def test_untrained_scales_come_back_as_they_were(net, image):
    quantization = quantize(net, image)
    for learn in ("scales", "averaged", "frozen"):
        with faked(net.eval(), quantization, learn=learn) as fake:
            net(image)
            same = fake.quantization()
        assert same.to_json() == quantization.to_json()


def test_a_model_is_left_clean_and_a_copy_can_be_stripped(net, image):
    before, state = net(image), list(net.__dict__)
    with faked(net, quantize(net, image)) as fake:
        during = net(image)
        twin = copy.deepcopy(net)
        assert torch.equal(twin(image), during)
    assert not torch.equal(before, during)
    assert torch.equal(net(image), before)
    assert torch.equal(twin(image), before)  # hooks of the copy are inert now
    assert list(net.__dict__) == state
    for module in (*net.modules(), *strip(twin).modules()):
        for hooks in (
            "forward_hooks",
            "forward_pre_hooks",
            "forward_hooks_with_kwargs",
            "forward_pre_hooks_with_kwargs",
            "forward_hooks_always_called",
        ):
            assert not getattr(module, f"_{hooks}"), hooks
    assert fake.quantization().weights
    torch.save(net.state_dict(), io.BytesIO())


def test_a_forward_that_fails_leaves_nothing_behind(net, image):
    with faked(net, quantize(net, image)):
        with pytest.raises(RuntimeError):
            net(image[:, :2])
        assert torch.relu(torch.tensor(-1.0)) == 0
        result = net(image)
        assert torch.equal(result, net(image))
    with pytest.raises(RuntimeError):
        net(image[:, :2])


def test_a_site_that_is_never_reached_is_named(net, image):
    quantization = quantize(net, image)
    quantization.activations[Site("body.7", "conv", 0, "output")] = scale_for(0.0, 1.0, UNSIGNED)
    with faked(net, quantization), pytest.raises(BadInput, match=r"body\.7/conv#0:output \(1 of 17 sites\)"):
        net(image)


def test_errors_are_one_line(net):
    site = Site("stem", "conv", 0, "output")
    two = Scale(UNSIGNED, np.ones(2, np.float32), np.zeros(2, np.int64))
    outside = Scale(UNSIGNED, np.ones(1, np.float32), np.full(1, 255))
    for activations, settings, text in (
        ({site: two}, {}, "has 2 scales"),
        ({site: outside}, {}, "zero point 255"),
        ({}, {"learn": "scale"}, "Did you mean 'scales'"),
        ({}, {"weights": "lerned"}, "Did you mean 'learned'"),
        ({site: scale_for(0, 1, UNSIGNED)}, {"ties": {site: Site("x", "add", 0, "output")}}, "x/add#0"),
    ):
        with pytest.raises(BadInput, match=text), faked(net, Quantization("int8", activations), **settings):
            pass


def test_a_shared_weight_is_one_tensor_whichever_call_is_asked():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return self.layer(self.layer(x))

    torch.manual_seed(5)
    model, x = Twice(), torch.randn(2, 4, 3, 3)
    scale = weight_scale(model.layer.weight.detach().numpy(), WEIGHTS)
    results = []
    for call in (0, 1):
        with faked(model, Quantization("int8", {}, {Site("layer", "conv", call, "weight"): scale})):
            results.append(model(x))
    weight = torch.from_numpy(scale.dequantize(scale.quantize(model.layer.weight.detach().numpy())))
    once = F.conv2d(x, weight, model.layer.bias)
    expected = F.conv2d(once, weight, model.layer.bias)
    assert torch.equal(results[0], expected)
    assert torch.equal(results[1], expected)


def disturbed(net: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, Quantization]:
    """Outputs and scales of a net whose weights then get noise: a lesson that the scales can hold."""
    target, quantization = net(image).detach(), quantize(net, image)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return target, quantization


def train(net: nn.Module, fake, image: torch.Tensor, target: torch.Tensor, steps: int = 60) -> list[float]:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    extra = torch.optim.AdamW(fake.parameters(), lr=1e-2, weight_decay=0.0) if fake.parameters() else None
    losses = []
    net.train()
    for _ in range(steps):
        optimizer.zero_grad()
        if extra:
            extra.zero_grad()
        loss = F.mse_loss(net(image), target)
        loss.backward()
        optimizer.step()
        if extra:
            extra.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("learn", "weights"),
    [("scales", "minmax"), ("scales", "learned"), ("averaged", "minmax"), ("frozen", "frozen")],
)
def test_training_learns_and_the_trained_scales_describe_the_faked_model(net, image, learn, weights):
    target, quantization = disturbed(net, image)
    with faked(net, quantization, learn=learn, weights=weights) as fake:
        losses = train(net, fake, image, target)
        result = net.eval()(image).detach()
        trained = fake.quantization()
    assert losses[-1] < 0.2 * losses[0]
    assert torch.equal(result, by_hand(net, trained, image))
    moved = [
        site
        for site, scale in trained.activations.items()
        if not np.array_equal(scale.scale, quantization.activations[site].scale)
    ]
    inputs = {site for site in quantization.activations if site.operation == "input"}
    assert set(moved) == (set() if learn == "frozen" else set(quantization.activations) - inputs)
    assert all(
        float(scale.scale.min()) > 0 for scale in (*trained.activations.values(), *trained.weights.values())
    )
    assert all(
        np.array_equal(scale.zero_point, quantization.activations[site].zero_point)
        for site, scale in trained.activations.items()
    )


def test_learned_scales_recover_from_a_bad_start(net, image):
    """Scales eight times too small clip most values; their gradients must widen them."""
    target = net(image).detach()
    good = quantize(net, image)
    bad = Quantization(
        "int8",
        {
            site: Scale(scale.grid, scale.scale / (1 if site.operation == "input" else 8), scale.zero_point)
            for site, scale in good.activations.items()
        },
        good.weights,
    )
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    with faked(net, bad) as fake:
        optimizer = torch.optim.AdamW(fake.parameters(), lr=0.05, weight_decay=0.0)
        losses = []
        for _ in range(200):
            optimizer.zero_grad()
            loss = F.mse_loss(net(image), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


def test_averaged_scales_follow_the_moving_average_of_the_need(image):
    model = Wrap(lambda image: image + 0)
    site = Site("", "add", 0, "output")
    start = scale_for(0.0, 1.0, UNSIGNED)
    with faked(model, Quantization("int8", {site: start}), learn="averaged", momentum=0.9) as fake:
        expected = float(start.scale[0])
        for factor in (1.0, 2.0, 3.0):
            model.train()(image * factor)
            expected = 0.9 * expected + 0.1 * float((image * factor).max()) / 255
        model.eval()(image * 100)
        assert float(fake.quantization().activations[site].scale[0]) == pytest.approx(expected, rel=1e-5)
        with pytest.raises(BadInput, match="add#0:output became NaN"):
            model.train()(image * float("nan"))


def test_tied_sites_share_one_scale(net, image):
    quantization = quantize(net, image)
    add, relu = Site("", "add", 0, "output"), Site("act", "relu", 1, "output")
    quantization.activations[add] = quantization.activations[relu]
    with faked(net, quantization, ties={relu: add}) as fake:
        train(net, fake, image, torch.randn(4, 5), steps=5)
        trained = fake.quantization().activations
    assert trained[add].scale == trained[relu].scale != quantization.activations[add].scale


def test_an_inplace_operation_on_a_faked_tensor_keeps_its_gradients(image):
    """add, then relu_ on its faked result: the scale's gradient must not see overwritten values."""
    gradients = []
    for inplace in (False, True):
        model = Wrap(lambda image, inplace=inplace: F.relu(image + 0.1, inplace=inplace) * 2)
        site = Site("", "add", 0, "output")
        with faked(model, Quantization("int8", {site: scale_for(-1.0, 1.0, UNSIGNED)})) as fake:
            leaf = image.clone().requires_grad_()
            (model(leaf) * image).sum().backward()
            gradients.append((leaf.grad, fake.parameters()[0].grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1])
    assert float(gradients[0][1].abs()) > 0


def test_bfloat16_autocast_trains(net, image):
    target, quantization = disturbed(net, image)
    with faked(net, quantization) as fake, torch.autocast("cpu", torch.bfloat16):
        losses = train(net, fake, image, target)
    assert losses[-1] < 0.2 * losses[0]
