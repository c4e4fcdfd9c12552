"""The virtual clock against closed forms of the time of an exchange."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.links import Links, VirtualClock
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.ring import Ring
from edgekit.errors import BadInput

MEGABYTE, RATE, LATENCY = 1_000_000, 100e6 / 8, 2 * 0.025


def clock(agents: int, via: str = "direct", **links) -> VirtualClock:
    return VirtualClock(Links(bandwidth_mbps=100, latency_ms=25, via=via, **links), np.ones(agents))


def send(made: VirtualClock, graph: Graph, size: int, *, shared: bool = True) -> None:
    made.exchange(graph.source, graph.target, np.full(graph.arcs, size), shared=shared)


def test_a_ring_costs_the_latency_and_two_messages():
    made = clock(8)
    send(made, Ring().graph(Roster.of(8), 0, 0), MEGABYTE)
    assert made.seconds == pytest.approx(LATENCY + 2 * MEGABYTE / RATE)


def test_a_broker_takes_one_upload_for_all_receivers():
    made = clock(8, via="broker")
    send(made, Ring().graph(Roster.of(8), 0, 0), MEGABYTE)
    assert made.seconds == pytest.approx(
        LATENCY + 2 * MEGABYTE / RATE
    )  # the two downloads share the downlink
    one_way = clock(8, via="broker")
    send(one_way, Graph.directed(8, [(i, (i + 1) % 8) for i in range(8)]), MEGABYTE)
    assert one_way.seconds == pytest.approx(LATENCY + MEGABYTE / RATE)


def test_a_parameter_server_pays_for_everyone():
    made = clock(9)
    up = Graph.directed(9, [(i, 0) for i in range(1, 9)])
    down = Graph.directed(9, [(0, i) for i in range(1, 9)])
    send(made, up, MEGABYTE)
    assert made.free[0] == pytest.approx(LATENCY + 8 * MEGABYTE / RATE)
    send(made, down, MEGABYTE)
    assert made.seconds == pytest.approx(2 * LATENCY + 16 * MEGABYTE / RATE)
    published = clock(9, via="broker")
    send(published, up, MEGABYTE)
    send(published, down, MEGABYTE)
    assert published.seconds == pytest.approx(2 * LATENCY + 9 * MEGABYTE / RATE)


def test_what_differs_for_every_receiver_is_uploaded_for_each():
    made, graph = clock(8, via="broker"), Graph.directed(8, [(0, i) for i in range(1, 8)])
    send(made, graph, MEGABYTE, shared=False)
    assert made.seconds == pytest.approx(LATENCY + 7 * MEGABYTE / RATE)


def test_a_message_that_begins_late_is_not_hurried_by_one_before_it():
    made = clock(3)
    made.free[:] = [0.0, 1.0, 0.0]
    send(made, Graph.directed(3, [(0, 2), (1, 2)]), MEGABYTE)
    assert made.free[2] == pytest.approx(1.0 + LATENCY + MEGABYTE / RATE)


def test_who_is_slow_holds_up_its_neighbours_only():
    made = clock(6, seconds_per_gradient=1.0)
    made.speeds[2] = 0.1
    made.compute(np.ones(6, np.int64))
    send(made, Ring().graph(Roster.of(6), 0, 0), 0)
    assert made.free == pytest.approx([1 + LATENCY, 10 + LATENCY, 10, 10 + LATENCY, 1 + LATENCY, 1 + LATENCY])


def test_nothing_sent_takes_no_time():
    made = clock(3)
    send(made, Graph.directed(3, []), MEGABYTE)
    assert made.seconds == 0.0


def test_speeds_are_drawn_within_their_range_by_key():
    links = Links(speeds=(0.25, 1.0))
    drawn = [links.speed_of(agent, 0) for agent in range(50)]
    assert min(drawn) >= 0.25
    assert max(drawn) <= 1.0
    assert len(set(drawn)) == 50
    assert drawn[7] == links.speed_of(7, 0) != links.speed_of(7, 1)


@pytest.mark.parametrize("bad", [{"bandwidth_mbps": 0.0}, {"latency_ms": -1.0}, {"speeds": (1.0, 0.5)}])
def test_links_that_cannot_be_are_refused(bad):
    with pytest.raises(BadInput, match=r"^links: "):
        Links(**bad)
