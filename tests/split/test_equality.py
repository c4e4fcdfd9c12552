"""A split network is the network: the same bits with one micro-batch, 1e-6 with several, optimizers included."""

from __future__ import annotations

import pytest
import torch

from edgekit.split.placement import Placement
from tests.split.networks import batch, cross_entropy, gap, split, train, whole

SGD = lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9)  # noqa: E731
ADAM = lambda parameters: torch.optim.Adam(parameters, lr=0.01)  # noqa: E731
PLAIN = lambda parameters: torch.optim.SGD(parameters, lr=0.05)  # noqa: E731
CUTS = {
    "resnet8": ("stages.0.conv1", "stages.1.conv2", "pool"),  # two of them through skip connections
    "ds_cnn": ("blocks.0", "blocks.1", "blocks.2"),
    "transformer": ("blocks.0.norm1", "blocks.0", "blocks.1.mlp"),
}
VANILLA = Placement(("client", "edge"), ("client",), "client", labels_leave=True)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def cuts_of(name: str, count: int) -> tuple[str, ...]:
    model, _, _ = split(name, (), Placement(("cam",), ("cam",), "cam"))
    known = [cut.name for cut in model.network.cuts]
    wanted = [cut for cut in CUTS[name] if cut in known]
    return tuple((wanted + known[len(known) // 3 :: 3])[:count])


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "transformer"])
@pytest.mark.parametrize(
    "placement",
    [
        Placement(("cam", "edge"), ("cam",), "cam", labels_leave=True),
        Placement(("cam", "edge"), ("cam",), "cam"),
        Placement(("cam", "edge", "cam"), ("cam",), "cam"),
        Placement(("cam", "edge", "hub", "edge"), ("cam",), "labeller"),
    ],
    ids=["vanilla", "loss-at-the-labels", "u-shaped", "multi-hop"],
)
def test_one_micro_batch_gives_the_same_bits(placement, name, optimizer):
    made, model, shape = split(name, cuts_of(name, len(placement.on) - 1), placement)
    _, losses, _ = train(made, shape, 3, optimizer)
    expected = whole(model, shape, [[0]] * 3, optimizer)
    assert losses == expected
    assert gap(made.network.model, model) == 0.0


@pytest.mark.parametrize("name", ["resnet8", "transformer"])
def test_micro_batches_give_the_same_to_rounding(name):
    made, model, shape = split(name, cuts_of(name, 2), Placement(("cam", "edge", "hub"), ("cam",), "hub"))
    train(made, shape, 3, PLAIN, micro=4)
    whole(model, shape, [[0]] * 3, PLAIN)
    assert gap(made.network.model, model) < 1e-6


def test_sequential_clients_are_one_network_on_their_batches_in_turn():
    made, model, shape = split("resnet8", ("stages.0",), VANILLA, clients=("one", "two"))
    train(made, shape, 4, PLAIN)
    whole(model, shape, [[0], [1], [0], [1]], PLAIN)
    assert gap(made.network.model, model) == 0.0


def test_splitfed_1_with_one_step_is_one_step_on_all_batches():
    made, model, shape = split(
        "resnet8", ("stages.0",), VANILLA, clients=("one", "two", "three"), mode="splitfed-v1"
    )
    train(made, shape, 1, PLAIN)
    whole(model, shape, [[0, 1, 2]], PLAIN)
    assert gap(made.network.model, model) < 1e-6


def test_splitfed_2_is_its_own_reference_in_one_process():
    made, _, shape = split("resnet8", ("stages.0",), VANILLA, clients=("one", "two"), mode="splitfed-v2")
    reference, _, _ = split("resnet8", ("stages.0",), VANILLA, clients=("one", "two"), mode="splitfed-v2")
    programs, _, _ = train(made, shape, 3, PLAIN)
    chains = [reference._segments(0), reference._segments(1)]
    server = chains[0][1]
    for step in range(3):
        for chain, segments in enumerate(chains):
            x, y = batch(shape, chain, step)
            parameters = [*segments[0].parameters(), *server.parameters()]
            loss = cross_entropy(next(iter(server(segments[0]({"x": x})).values())), y)
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.data.add_(gradient, alpha=-0.05)
        pairs = zip(chains[0][0].parameters(), chains[1][0].parameters(), strict=True)
        for one, two in pairs:
            mean = (one.data + two.data) / 2
            one.data.copy_(mean)
            two.data.copy_(mean)
    found = programs["edge"].workers[0].segments[1]
    assert gap(found, server) < 1e-6
    assert gap(programs["two"].workers[1].segments[0], chains[1][0]) < 1e-6
