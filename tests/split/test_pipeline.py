"""Requests through a split network on a virtual clock: the network's outputs in order, and times in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekit.split.network import Network
from edgekit.split.pipeline import Pipeline
from edgekit.split.placement import Placement
from edgekit.split.segment import segments_of
from edgekit.split.simulate import Wires
from tests.split.networks import make

ABC = ("a", "b", "c")


@pytest.fixture(scope="module")
def resnet():
    model, shape = make("resnet8")
    return Network(model.eval(), torch.zeros(1, *shape))


@pytest.fixture(scope="module")
def equal():
    """Three layers that each give 1000 values, so that all cuts cost the same."""
    return Network(nn.Sequential(*(nn.Linear(1000, 1000) for _ in range(3))).eval(), torch.zeros(1, 1000))


def pipeline(network, cuts, on, result_to="a", **options):
    segments = segments_of(network, network.assignment(tuple(network.cut(cut) for cut in cuts)))
    placement = Placement(on, ("a",), "a", inputs_leave=True)
    return Pipeline(network, segments, placement, result_to, **options)


def requests(network, count):
    chance = torch.Generator().manual_seed(0)
    (name,) = network.inputs
    shape = network.values[name].shape
    return [{name: torch.randn(1, *shape, generator=chance)} for _ in range(count)]


def latencies(found):
    return [end - begin for begin, end in zip(found.asked, found.finished, strict=True)]


@pytest.mark.parametrize("on", [ABC, ("a", "b", "a"), ("b", "c", "b"), ("a", "a", "a")])
@pytest.mark.parametrize("window", [1, 5])
@pytest.mark.parametrize("cuts", [("stages.0", "stages.1"), ("stages.0.conv1", "stages.2.conv2")])
def test_outputs_are_the_network_s_and_in_order(resnet, on, window, cuts):
    asked = requests(resnet, 12)
    found = pipeline(resnet, cuts, on, wires=Wires(100, 1)).run(asked, window)
    with torch.no_grad():
        wanted = [resnet.model(request["x"]) for request in asked]
    assert len(found.outputs) == len(wanted)
    assert all(torch.equal(one, other) for one, other in zip(found.outputs, wanted, strict=True))
    assert found.finished == sorted(found.finished)
    assert all(latency > 0 for latency in latencies(found))


def test_three_balanced_agents_are_three_times_as_fast_but_for_the_fill(equal):
    asked, work = requests(equal, 40), lambda agent, seconds: 1.0
    one = pipeline(equal, ["0", "1"], ("a", "a", "a"), work=work).run(asked)
    three = pipeline(equal, ["0", "1"], ABC, "c", work=work).run(asked)
    assert one.finished[-1] == 3 * 40
    assert three.finished == [number + 3.0 for number in range(40)]
    assert three.requests_a_second / one.requests_a_second == pytest.approx(3 * 40 / 42)
    back = pipeline(equal, ["0", "1"], ABC, "a", work=work).run(asked)
    assert back.finished[-1] == three.finished[-1]


def test_the_slowest_agent_sets_the_pace(equal):
    cost = {"a": 1.0, "b": 4.0, "c": 2.0}
    made = pipeline(equal, ["0", "1"], ABC, "c", work=lambda agent, seconds: cost[agent])
    found = made.run(requests(equal, 30))
    assert found.finished == [7.0 + 4.0 * number for number in range(30)]


def test_with_one_request_under_way_nothing_overlaps(equal):
    wires = Wires(1.0, 100.0)  # 4000 bytes: 0.032 s, and 0.1 s on the way
    found = pipeline(equal, ["0", "1"], ABC, wires=wires, work=lambda agent, seconds: 1.0).run(
        requests(equal, 5), window=1
    )
    assert latencies(found) == pytest.approx([3 + 3 * 0.132] * 5)
    assert found.finished == pytest.approx([3.396 * (number + 1) for number in range(5)])


def test_a_slow_link_sets_the_pace_whatever_its_latency(equal):
    wires = Wires(0.016, 500.0)  # 2 s a message, longer than any work
    made = pipeline(equal, ["0", "1"], ABC, "c", wires=wires, work=lambda agent, seconds: 0.5)
    found = made.run(requests(equal, 40), window=40)
    steps = [later - sooner for sooner, later in zip(found.finished, found.finished[1:], strict=False)]
    assert steps == pytest.approx([2.0] * 39)
    assert found.finished[0] == pytest.approx(3 * 0.5 + 2 * 2.5)


def test_measured_work_is_what_the_agents_spend(resnet):
    seen = []
    pipeline(resnet, ["stages.0"], ("a", "b"), work=lambda agent, seconds: seen.append(agent) or seconds).run(
        requests(resnet, 3), window=1
    )
    assert seen == ["a", "b"] * 3
    pipeline(resnet, ["stages.0"], ("a", "b")).run(requests(resnet, 1))
    assert len(seen) == 6


def test_a_request_that_ends_nowhere_is_told(equal):
    broken = pipeline(equal, ["0"], ("a", "b"))
    broken.segments[1].ports.sources["_0"] = 0
    broken.segments[0].ports.users["_0"] = ()
    with pytest.raises(RuntimeError, match="2 requests were never answered"):
        broken.run(requests(equal, 2))
