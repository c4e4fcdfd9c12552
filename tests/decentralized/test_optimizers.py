"""Optimizers on rows, step by step against torch's own on one row, and the laws of the layer-wise ones."""

from __future__ import annotations

import pytest
import torch

from edgekit.decentralized.layout import Layout
from edgekit.decentralized.optimizers import AdamW, Lamb, Lars, Optimizer, Sgd
from edgekit.decentralized.schedule import Schedule, linear_scaling
from edgekit.errors import BadInput
from tests.decentralized.problems import random

LAYOUT = Layout.of([("weight", torch.zeros(3, 4)), ("bias", torch.zeros(5))])


def steps(optimizer: Optimizer, rows: torch.Tensor, gradients: list[torch.Tensor], lr: float) -> torch.Tensor:
    x = rows.clone()
    kept = {name: torch.zeros_like(x) for name in optimizer.memory}
    kept |= {name: x.new_zeros(len(x), 1) for name in optimizer.counters}
    for gradient in gradients:
        optimizer.step(x, gradient.clone(), lr, kept, LAYOUT)
    return x


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Sgd(lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (Sgd(lr=0.1, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        (
            Sgd(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        ),
        (AdamW(lr=0.01), lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.0)),
        (AdamW(lr=0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
    ],
)
def test_every_row_goes_as_torch_goes(ours, theirs):
    rows, gradients = random(3, 17), [random(3, 17, seed=seed) for seed in range(1, 8)]
    found = steps(ours, rows, gradients, ours.lr)
    for index in range(3):
        parameter = torch.nn.Parameter(rows[index].clone())
        optimizer = theirs([parameter])
        for gradient in gradients:
            parameter.grad = gradient[index].clone()
            optimizer.step()
        assert (found[index] - parameter.detach()).abs().max() < 1e-12


@pytest.mark.parametrize(
    "optimizer", [Lars(momentum=0.0, trust=0.02), Lamb(beta1=0.0, beta2=0.0, epsilon=1e-30)]
)
def test_layer_wise_rates_forget_the_size_of_the_gradient(optimizer):
    rows, gradient = random(3, 17), random(3, 17, seed=1)
    weights = slice(0, 12)
    one, two = (steps(optimizer, rows, [scale * gradient], 0.1)[:, weights] for scale in (1.0, 1000.0))
    assert (one - two).abs().max() < 1e-10


def test_lars_moves_a_layer_by_trust_times_its_norm():
    rows, gradient = random(3, 17), random(3, 17, seed=1)
    moved = steps(Lars(momentum=0.0, trust=0.02), rows, [gradient], 0.1) - rows
    assert torch.allclose(moved[:, :12].norm(dim=1), 0.1 * 0.02 * rows[:, :12].norm(dim=1))
    assert torch.allclose(moved[:, 12:], -0.1 * gradient[:, 12:])  # biases take the rate as it is


@pytest.mark.parametrize("optimizer", [Sgd(momentum=0.9), AdamW(), Lars(), Lamb()])
def test_rows_together_and_apart_are_the_same_bits(optimizer):
    rows = random(4, 17).float()
    gradients = [random(4, 17, seed=seed).float() for seed in range(1, 5)]
    together = steps(optimizer, rows, gradients, 0.05)
    for index in range(4):
        part = slice(index, index + 1)
        assert torch.equal(together[part], steps(optimizer, rows[part], [g[part] for g in gradients], 0.05))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sgd(lr=0.0), "lr is 0"),
        (lambda: Sgd(momentum=1.0), "from 0 to below 1"),
        (lambda: Sgd(nesterov=True), "momentum, which is 0"),
        (lambda: AdamW(weight_decay=-1.0), "weight_decay is -1"),
        (lambda: Schedule(warmup=1.0), "warmup is 1"),
        (lambda: Schedule(milestones=(0.5, 1.5)), "between 0 and 1"),
    ],
)
def test_bad_settings_get_one_line(make, message):
    with pytest.raises(BadInput, match=message):
        make()


def test_schedules():
    assert [Schedule().at(r, 10) for r in (0, 9)] == [1.0, 1.0]
    step = Schedule(decay="step", milestones=(0.5, 0.75), factor=0.1)
    assert [round(step.at(r, 100), 4) for r in (0, 49, 50, 74, 75, 99)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    cosine = Schedule(decay="cosine", floor=0.1)
    assert cosine.at(0, 100) == 1.0
    assert cosine.at(50, 100) == pytest.approx(0.55)
    assert Schedule(decay="linear").at(25, 100) == 0.75
    warm = Schedule(warmup=0.1)
    assert [warm.at(r, 100) for r in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert linear_scaling(0.1, 512, reference=128) == 0.4
