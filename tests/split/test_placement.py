"""Who holds what, what leaves whom, and what is refused before anything runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekit.codecs.uint8 import UInt8
from edgekit.errors import BadInput
from edgekit.split.network import Network
from edgekit.split.placement import Placement
from edgekit.split.post import Post
from edgekit.split.segment import segments_of
from edgekit.split.simulate import Wires
from tests.split.networks import split, train

PLAIN = lambda parameters: torch.optim.SGD(parameters, lr=0.05)  # noqa: E731
U_SHAPED = Placement(("cam", "edge", "cam"), ("cam",), "cam")


def test_nothing_crosses_that_the_table_does_not_say_and_its_bytes_are_the_tables():
    made, _, shape = split("resnet8", ("stages.0.conv1", "stages.1"), U_SHAPED)
    seen: dict[tuple, int] = {}

    def see(sender, receiver, key, payload):
        seen[sender, receiver, key.what, key.name] = len(payload)

    train(made, shape, 1, PLAIN, seen=see)
    expected = {(row.sender, row.receiver, row.what, row.name): 8 * row.bytes for row in made.transfers()}
    assert seen == expected


def test_u_shaped_sends_neither_inputs_nor_labels_nor_the_head():
    made, _, shape = split("resnet8", ("stages.0", "stages.1"), U_SHAPED)
    payloads = []
    train(made, shape, 2, PLAIN, seen=lambda sender, receiver, key, payload: payloads.append((key, payload)))
    assert {key.what for key, _ in payloads} == {"value", "gradient"}
    assert not {key.name for key, _ in payloads} & {"x", "labels", made.network.output}


def test_uint8_activations_take_a_quarter_of_the_bytes():
    counts = {}
    for codec in (None, UInt8()):
        made, _, shape = split("resnet8", ("stages.0", "stages.1"), U_SHAPED)
        posts = {agent: Post(codec) for agent in made.agents}
        train(made, shape, 1, PLAIN, posts=posts)
        counts[codec is None] = sum(post.sent["value"] for post in posts.values())
    assert counts[True] / counts[False] >= 3.9


def test_the_virtual_clock_adds_latency_and_bandwidth():
    made, _, shape = split("resnet8", ("stages.0",), Placement(("cam", "edge"), ("cam",), "cam"))
    _, _, simulator = train(
        made,
        shape,
        1,
        PLAIN,
        wires=Wires(bandwidth_mbps=8.0, latency_ms=10.0),
        work=lambda agent, seconds: 0.0,
    )
    # there and back: the value, the output and its gradient, the gradient of the value, one after the other
    crossing = 8 * sum(row.bytes for row in made.transfers())
    assert simulator.seconds == pytest.approx(crossing / 1e6 + 4 * 0.010)


@pytest.mark.parametrize(
    ("placement", "says"),
    [
        (Placement(("cam",), ("cam",), "cam"), "2 segments, but 1 agents"),
        (Placement(("edge", "cam"), ("cam",), "cam"), "would leave cam for edge"),
        (Placement(("cam", "edge"), ("cam", "other"), "cam"), "1 inputs"),
    ],
)
def test_what_cannot_be_is_refused(placement, says):
    made, _, _ = split("resnet8", ("stages.0",), placement)
    with pytest.raises(BadInput, match=says):
        made.check()


def test_inputs_leave_where_that_is_permitted():
    placement = Placement(("edge", "cam"), ("cam",), "cam", inputs_leave=True)
    made, _, _ = split("resnet8", ("stages.0",), placement)
    assert made.check() == []
    assert ("cam", "edge", "value", "x") in {(r.sender, r.receiver, r.what, r.name) for r in made.transfers()}


def test_a_cut_that_does_not_exist_names_those_that_do():
    with pytest.raises(BadInput, match=r"Did you mean 'stages.0'"):
        split("resnet8", ("stage.0",), U_SHAPED)


def test_batch_norm_is_warned_of():
    network = Network(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), torch.zeros(2, 4))
    made, _, _ = split("resnet8", ("stages.0",), Placement(("cam", "edge"), ("cam",), "cam"))
    with_norm = type(made)(network, network.assignment((network.cut("1"),)), made.placement, made.clients)
    assert any("BatchNorm" in line for line in with_norm.check())


def test_a_shared_parameter_stays_in_one_segment():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(torch.relu(self.layer(x)))

    network = Network(Tied(), torch.zeros(1, 4))
    with pytest.raises(BadInput, match="share a parameter"):
        segments_of(network, network.assignment((network.cut("relu"),)))


def test_a_model_that_branches_on_values_is_refused_in_one_line():
    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(BadInput, match="cannot be traced"):
        Network(Branch(), torch.zeros(1, 4))


def test_what_has_no_batch_dimension_cannot_be_cut_through():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            mean = self.layer(x).mean(0)
            return self.layer(x) - torch.relu(mean)

    network = Network(Pooled(), torch.zeros(1, 4))
    assert "mean" not in [cut.name for cut in network.cuts]
