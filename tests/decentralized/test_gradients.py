"""Three ways of taking gradients agree with autograd, and the sampler draws what it should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgekit.decentralized.context import Context
from edgekit.decentralized.gradients.stacked import chain_of
from edgekit.decentralized.model_objective import ModelObjective, make, probe, ways
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.sampler import Sampler
from edgekit.decentralized.samples import Samples
from edgekit.errors import BadInput
from edgekit.fit import cross_entropy, mean_squared_error


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(12, 7), nn.Linear(7, 4, bias=False)

    def forward(self, x):
        return self.two(torch.tanh(self.one(torch.flatten(x, 1))))


MODELS = {
    "softmax": lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 4)),
    "mlp": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 6), nn.Sigmoid(), nn.Linear(6, 4)
    ),
    "module": Net,
    "cnn": lambda: nn.Sequential(
        nn.Conv2d(3, 5, 2), nn.GroupNorm(1, 5), nn.ReLU(), nn.Flatten(), nn.Linear(5, 4)
    ),
}


def objective(model, way, *, loss=cross_entropy, agents=5, dtype=torch.float64):
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, 2, 2, generator=chance, dtype=dtype)
    y = torch.arange(60) % 4 if loss is cross_entropy else torch.randn(60, 4, generator=chance, dtype=dtype)
    shares = {agent: np.arange(agent * 12, agent * 12 + 12) for agent in range(agents)}
    return ModelObjective(model.to(dtype), loss, Samples(x, y), Sampler(shares, 6, 0), gradients=way)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", ["loop", "vmap", "stacked"])
@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error])
def test_every_way_is_autograd(name, way, loss):
    torch.manual_seed(0)
    model = MODELS[name]()
    if way not in ways(model):
        with pytest.raises(BadInput, match=rf"{way} does not work on this model"):
            make(way, model, loss)
        return
    problem = objective(model, way, loss=loss)
    rows = torch.randn(5, problem.layout.size, dtype=torch.float64)
    out, agents, draws = torch.empty_like(rows), [3, 0, 1, 1, 4], [0, 1, 0, 1, 2]
    losses = problem.gradient(rows, agents, draws, out)
    onto = rows.clone()
    problem.descend(rows, onto, agents, draws, 0.3)
    reference = MODELS[name]().double()
    for index, (agent, draw) in enumerate(zip(agents, draws, strict=True)):
        x, y = problem.samples.take(problem.sampler.indices([agent], [draw])[0])
        reference.load_state_dict(problem.layout.views(rows[index]))
        value = loss(reference(x), y)
        wanted = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, list(reference.parameters()))])
        assert torch.allclose(out[index], wanted, atol=1e-12)
        assert torch.allclose(losses[index], value.detach(), atol=1e-12)
        assert torch.allclose(onto[index], rows[index] - 0.3 * wanted, atol=1e-12)


@pytest.mark.parametrize("way", ["loop", "vmap", "stacked"])
def test_descending_in_place_is_descending_elsewhere(way):
    problem = objective(MODELS["mlp"](), way)
    rows = torch.randn(5, problem.layout.size, dtype=torch.float64)
    here, there = rows.clone(), rows.clone()
    problem.descend(here, here, range(5), [0] * 5, 0.1)
    problem.descend(rows, there, range(5), [0] * 5, 0.1)
    assert torch.equal(here, there)


def test_chains_are_recognized():
    assert [step.kind for step in chain_of(MODELS["mlp"]())] == [
        "flatten", "linear", "relu", "linear", "sigmoid", "linear",
    ]  # fmt: skip
    assert [step.kind for step in chain_of(Net())] == ["flatten", "linear", "tanh", "linear"]
    assert chain_of(MODELS["cnn"]()) is None
    assert chain_of(nn.Sequential(nn.Flatten(2), nn.Linear(4, 4))) is None
    assert chain_of(nn.Sequential(nn.Linear(4, 4), nn.ReLU())) is None

    class Skip(Net):
        def forward(self, x):
            return super().forward(x) + x.flatten(1)[:, :4]

    assert chain_of(Skip()) is None


def test_frozen_layers_are_left_out_of_the_row():
    model = MODELS["mlp"]()
    model[1].requires_grad_(False)
    assert ways(model) == ("loop", "vmap")
    one, two = (objective(model, way) for way in ("loop", "vmap"))
    assert one.layout.size == sum(p.numel() for p in model.parameters() if p.requires_grad)
    rows = torch.randn(5, one.layout.size, dtype=torch.float64)
    outs = [torch.empty_like(rows) for _ in range(2)]
    for problem, out in zip((one, two), outs, strict=True):
        problem.gradient(rows, range(5), [0] * 5, out)
    assert torch.allclose(*outs, atol=1e-12)


def test_running_statistics_are_each_agents_own():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
    assert ways(model) == ("loop",)
    problem = objective(model, "loop")
    start = problem.buffer_layout.pack(dict(model.named_buffers()))
    problem.buffers = {agent: start.clone() for agent in range(5)}
    rows = torch.randn(1, problem.layout.size, dtype=torch.float64).repeat(4, 1)
    problem.gradient(rows, range(4), [0] * 4, torch.empty_like(rows))
    assert torch.equal(problem.buffers[4], start)
    assert len({tuple(problem.buffers[agent].tolist()) for agent in range(4)}) == 4


def test_dropout_draws_the_same_for_the_same_agent_and_draw():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 50), nn.Dropout(0.5), nn.Linear(50, 4))
    assert ways(model) == ("loop",)
    problem = objective(model, "loop")
    rows, out, alone = (torch.randn(3, problem.layout.size, dtype=torch.float64) for _ in range(3))
    problem.gradient(rows, [0, 1, 2], [5, 5, 5], out)
    problem.gradient(rows[1:2], [1], [5], alone[:1])
    assert torch.equal(out[1], alone[0])


def test_accumulated_batches_are_one_large_batch():
    problem = objective(MODELS["mlp"](), "loop", agents=2)
    rows = torch.randn(2, problem.layout.size, dtype=torch.float64)
    context = Context(problem, Sgd(lr=0.1), (0, 1), 2, accumulate=2)
    context.open(rows)
    found = context.gradient(rows)
    whole = ModelObjective(
        MODELS["mlp"]().double(),
        cross_entropy,
        problem.samples,
        Sampler({0: np.arange(12), 1: np.arange(12, 24)}, 12, 0),
    )
    wanted = torch.empty_like(rows)
    whole.gradient(rows, [0, 1], [0, 0], wanted)
    assert torch.allclose(found, wanted, atol=1e-12)
    context.advance()
    assert context.draws.tolist() == [2, 2]
    assert context.gradients.tolist() == [2, 2]


def test_an_epoch_is_every_sample_once_and_the_same_in_any_order_of_asking():
    shares = {7: np.arange(10, 34), 3: np.arange(50, 63)}
    one, two = Sampler(shares, 6, seed=1), Sampler(shares, 6, seed=1)
    epoch = np.concatenate([one.indices([7], [draw])[0] for draw in range(4)])
    assert sorted(epoch) == list(range(10, 34))
    assert not np.array_equal(epoch, np.sort(epoch))
    second = np.concatenate([one.indices([7], [draw])[0] for draw in range(4, 8)])
    assert sorted(second) == list(range(10, 34))
    assert not np.array_equal(epoch, second)
    assert np.array_equal(two.indices([3, 7, 7], [1, 5, 0])[1], second[6:12])
    assert np.array_equal(two.indices([7], [0])[0], epoch[:6])
    assert not np.array_equal(Sampler(shares, 6, seed=2).indices([7], [0])[0], epoch[:6])
    assert one.epochs(3, 4) == 2.0


def test_orders_are_uniform_enough():
    """Each of the 24 orders of 4 samples about equally often over many epochs."""
    sampler = Sampler({0: np.arange(4)}, 4, seed=0)
    counts: dict[tuple, int] = {}
    for epoch in range(2400):
        order = tuple(sampler.indices([0], [epoch])[0].tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert (
        sum((count - 100) ** 2 / 100 for count in counts.values()) < 50
    )  # chi-squared, 23 degrees: p < 0.001


def test_a_batch_larger_than_an_agents_data_is_refused():
    with pytest.raises(BadInput, match=r"agent 2 has 3 samples, fewer than a batch of 4.*min_size"):
        Sampler({1: np.arange(9), 2: np.arange(3)}, 4, 0)


def test_the_probe_names_a_way_that_works():
    torch.manual_seed(0)
    model = MODELS["mlp"]().float()
    samples = Samples(torch.randn(64, 3, 2, 2), torch.arange(64) % 4)
    best, seconds = probe(model, cross_entropy, samples, 8, 4)
    assert set(seconds) == {"loop", "vmap", "stacked"}
    assert seconds[best] == min(seconds.values())


def test_bytes_become_inputs_by_scale_and_shift():
    raw = torch.randint(0, 256, (9, 3, 2, 2), dtype=torch.uint8)
    scale, shift = torch.rand(3, 1, 1) + 0.1, torch.randn(3, 1, 1)
    samples = Samples(raw, torch.arange(9), scale, shift)
    index = np.array([[1, 5], [8, 0]])
    x, y = samples.take(index)
    assert x.shape == (2, 2, 3, 2, 2)
    assert torch.allclose(x, raw[torch.from_numpy(index)].float() * scale + shift)
    assert y.tolist() == index.tolist()
    assert F.mse_loss(samples.to("cpu", torch.float64).take(index)[0].float(), x) < 1e-10
