"""What mixing leaves, against the closed forms of each graph."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.decentralized.facts import facts
from edgekit.decentralized.mixing import contraction
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.complete import Complete
from edgekit.decentralized.topologies.exponential import Exponential
from edgekit.decentralized.topologies.hypercube import Hypercube
from edgekit.decentralized.topologies.line import Line
from edgekit.decentralized.topologies.moshpit import Moshpit
from edgekit.decentralized.topologies.one_peer_exponential import OnePeerExponential
from edgekit.decentralized.topologies.ring import Ring
from edgekit.decentralized.topologies.star import Star
from edgekit.decentralized.topologies.torus import Torus


def second(topology, agents: int) -> float:
    return topology.mixing(Roster.of(agents), 0, 0).second


def product(topology, agents: int) -> float:
    roster = Roster.of(agents)
    return contraction([topology.mixing(roster, round, 0) for round in range(topology.period(agents))])


@pytest.mark.parametrize("agents", [3, 4, 5, 8, 16, 33, 64])
def test_ring(agents):
    assert second(Ring(), agents) == pytest.approx(1 / 3 + 2 / 3 * math.cos(2 * math.pi / agents), abs=1e-12)
    assert second(Ring(both_ways=False), agents) == pytest.approx(math.cos(math.pi / agents), abs=1e-12)


@pytest.mark.parametrize("agents", [2, 3, 10, 64])
def test_line_star_and_complete(agents):
    if agents > 2:
        assert second(Line(), agents) == pytest.approx(1 / 3 + 2 / 3 * math.cos(math.pi / agents), abs=1e-12)
        assert second(Star(), agents) == pytest.approx(1 - 1 / agents, abs=1e-12)
    assert second(Complete(), agents) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 6])
def test_hypercube(dimensions):
    expected = (dimensions - 1) / (dimensions + 1)
    assert second(Hypercube(), 2**dimensions) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (3, 5), (4, 4), (5, 8)])
def test_torus(rows, columns):
    found = second(Torus(rows=rows), rows * columns)
    expected = [
        (1 + 2 * math.cos(2 * math.pi * r / rows) + 2 * math.cos(2 * math.pi * c / columns)) / 5
        for r in range(rows)
        for c in range(columns)
        if (r, c) != (0, 0)
    ]
    assert found == pytest.approx(max(map(abs, expected)), abs=1e-12)


@pytest.mark.parametrize(
    ("agents", "shape"), [(4, (2, 2)), (6, (2, 3)), (12, (3, 4)), (36, (6, 6)), (1, (1, 1))]
)
def test_a_torus_is_as_square_as_it_can_be(agents, shape):
    assert Torus().shape(agents) == shape


@pytest.mark.parametrize("agents", [2, 6, 8, 12, 16, 30, 32, 64])
def test_static_exponential(agents):
    expected = 1 - 2 / (1 + math.ceil(math.log2(agents)))
    assert second(Exponential(), agents) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("agents", [2, 4, 8, 16, 64])
def test_one_peer_exponential_gives_the_exact_mean_of_a_power_of_two(agents):
    assert product(OnePeerExponential(), agents) < 1e-14
    if agents > 2:
        roster = Roster.of(agents)
        early = [OnePeerExponential().mixing(roster, round, 0) for round in range(int(math.log2(agents)) - 1)]
        assert contraction(early) > 0.5


@pytest.mark.parametrize(("agents", "left"), [(6, 0.217), (12, 0.209)])
def test_one_peer_exponential_only_comes_near_the_mean_of_others(agents, left):
    assert product(OnePeerExponential(), agents) == pytest.approx(left, abs=5e-4)
    assert second(OnePeerExponential(), 8) == pytest.approx(0.92, abs=5e-3)


@pytest.mark.parametrize(("side", "dimensions"), [(2, 3), (3, 2), (4, 3), (5, 2), (7, 1), (2, 6)])
def test_moshpit_gives_the_exact_mean_of_a_full_grid(side, dimensions):
    topology, agents = Moshpit(dimensions=dimensions), side**dimensions
    assert topology.side(agents) == side
    assert product(topology, agents) < 1e-12
    found = facts(topology, Roster.of(agents))
    assert (found.second_eigenvalue, found.rounds_to_consensus) == (0.0, dimensions)


@pytest.mark.parametrize(("agents", "dimensions"), [(5, 2), (7, 3), (10, 2), (30, 3), (31, 2)])
def test_moshpit_on_a_grid_with_holes_averages_and_converges(agents, dimensions):
    topology, roster = Moshpit(dimensions=dimensions), Roster.of(agents)
    assert 0 < product(topology, agents) < 1
    for round in range(dimensions):
        groups = topology.groups(roster, round, 0)
        assert sorted(member for group in groups for member in group) == list(range(agents))
        assert max(map(len, groups)) <= topology.side(agents)
        coordinates = np.delete(topology.coordinates(agents), round, axis=1)
        assert all(len({tuple(coordinates[member]) for member in group}) == 1 for group in groups)
