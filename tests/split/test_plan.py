"""The planner: the best of all ways, and figures that add up."""

from __future__ import annotations

import itertools

import pytest
import torch

from edgekit.errors import BadInput
from edgekit.split.network import Network
from edgekit.split.plan import Device, Ends, Link, measure, plan, table
from tests.split.networks import make


@pytest.fixture(scope="module")
def network():
    model, shape = make("resnet8")
    return Network(model, torch.zeros(1, *shape))


@pytest.fixture(scope="module")
def seconds(network):
    chance = torch.Generator().manual_seed(0)
    return (torch.rand(len(network.order), generator=chance) * 1e-3).tolist()


def links(names, mbps, ms, joules=None):
    return {pair: Link(mbps, ms, joules) for pair in itertools.permutations(names, 2)}


@pytest.mark.parametrize("mbps", [10, 100, 1000])
@pytest.mark.parametrize("ms", [0.1, 1, 20])
def test_the_plan_is_the_best_single_cut_where_one_is_allowed(network, seconds, mbps, ms):
    devices = [Device.scaled("cam", seconds, 0.1), Device.scaled("edge", seconds, 2.0)]
    known, ends = links(("cam", "edge"), mbps, ms), Ends("cam")
    found = plan(network, devices, known, ends, cuts=1)
    assert found.latency == pytest.approx(min(row.latency for row in table(network, devices, known, ends)))


def test_more_cuts_are_never_worse(network, seconds):
    devices = [Device.scaled(name, seconds, speed) for name, speed in (("a", 0.2), ("b", 1.0), ("c", 3.0))]
    known, ends = links("abc", 500, 0.2), Ends("a")
    costs = [plan(network, devices, known, ends, cuts=count).latency for count in (0, 1, 2)]
    assert costs == sorted(costs, reverse=True)
    assert sum(devices[0].seconds) == pytest.approx(costs[0])


def test_the_latency_is_the_sum_of_work_and_transfers(network, seconds):
    devices = [Device.scaled("a", seconds, 0.1), Device.scaled("b", seconds, 5.0)]
    known = links("ab", 1000, 0.1)
    found = plan(network, devices, known, Ends("a", sink="a"))
    assert found.agents[0] == "a"
    assert found.latency == pytest.approx(sum(stage.seconds + stage.transfer for stage in found.stages))
    for stage in found.stages[:-1]:
        assert stage.transfer == pytest.approx(known["a", "b"].seconds(stage.bytes))


def test_throughput_balances_the_stages(network, seconds):
    devices = [Device.scaled(name, seconds, 1.0) for name in "abc"]
    found = plan(network, devices, links("abc", 1e6, 0.0), Ends("a"), aim="throughput")
    assert sum(seconds) / found.slowest > 2.2
    assert len(set(found.agents)) == len(found.agents)


def test_energy_needs_watts_and_joules(network, seconds):
    devices = [Device.scaled("a", seconds, 0.1, 5.0), Device.scaled("b", seconds, 1.0, 1.0)]
    with pytest.raises(BadInput, match="not known"):
        plan(network, [Device.scaled("a", seconds, 1.0)], {}, Ends("a"), aim="energy")
    found = plan(network, devices, links("ab", 100, 1, joules=1e-12), Ends("a"), aim="energy")
    work = sum((5.0 if stage.agent == "a" else 1.0) * stage.seconds for stage in found.stages)
    assert found.joules == pytest.approx(work + 1e-12 * sum(stage.bytes for stage in found.stages))


def test_inputs_stay_unless_they_may_leave(network, seconds):
    devices = [Device.scaled("a", seconds, 0.001), Device.scaled("b", seconds, 10.0)]
    known = links("ab", 1000, 0.0)
    assert plan(network, devices, known, Ends("a")).agents[0] == "a"
    assert plan(network, devices, known, Ends("a", inputs_leave=True)).agents == ("b",)


def test_every_operation_is_timed(network):
    found = measure(network, 1, repeats=3)
    assert len(found) == len(network.order)
    assert all(value > 0 for value in found)
