"""Random graphs: regular, Erdos-Renyi, small world, matchings."""

from __future__ import annotations

import math

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.erdos_renyi import ErdosRenyi
from edgekit.decentralized.topologies.random_matching import RandomMatching
from edgekit.decentralized.topologies.random_regular import RandomRegular, regular_edges
from edgekit.decentralized.topologies.small_world import SmallWorld
from edgekit.errors import BadInput


def graph(topology, agents: int, *, round: int = 0, seed: int = 0) -> Graph:
    return topology.graph(Roster.of(agents), round, seed)


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 24), st.integers(3, 23), st.integers(0, 5))
def test_a_regular_graph_is_regular_simple_and_connected(agents, degree, seed):
    degree = min(degree, agents - 1)
    if agents * degree % 2:
        degree -= 1
    if degree < 3:
        return
    found = graph(RandomRegular(degree=degree), agents, seed=seed)
    assert (found.degrees == degree).all()
    assert found.symmetric
    assert found.connected


def test_pairs_of_link_ends_are_repaired_where_hardly_any_graph_is_left():
    for seed in range(300):
        edges = regular_edges(5, 2, np.random.default_rng(seed))
        assert Graph.undirected(5, edges).degrees.tolist() == [2] * 5


def test_a_regular_graph_mixes_as_friedman_says():
    found = RandomRegular(degree=4).mixing(Roster.of(600), 0, 1).second
    assert found == pytest.approx((1 + 2 * math.sqrt(3)) / 5, abs=0.02)


@pytest.mark.parametrize(
    ("topology", "agents", "words"),
    [
        (RandomRegular(degree=3), 7, "their number is odd"),
        (RandomRegular(degree=4), 4, "takes 5 agents or more"),
        (RandomRegular(degree=1), 4, "no connected graph"),
        (ErdosRenyi(probability=0.01), 100, r"ln n / n = 0\.0461"),
        (SmallWorld(), 4, "takes 5 agents or more"),
    ],
)
def test_what_cannot_be_formed_is_refused(topology, agents, words):
    with pytest.raises(BadInput, match=words):
        graph(topology, agents)


def test_where_no_draw_is_connected_each_says_so(monkeypatch):
    monkeypatch.setattr("edgekit.decentralized.topologies.redraw.TRIES", 0)
    for topology in (RandomRegular(), ErdosRenyi(), SmallWorld()):
        with pytest.raises(BadInput, match=r"connected .* tries"):
            graph(topology, 20)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomRegular(degree=0), "degree is 0"),
        (lambda: ErdosRenyi(probability=0.0), "probability is 0"),
        (lambda: ErdosRenyi(probability=1.5), "probability is 1.5"),
        (lambda: SmallWorld(degree=3), "even number"),
        (lambda: SmallWorld(rewire=-0.1), "rewire is -0.1"),
    ],
)
def test_settings_out_of_range_are_refused(make, words):
    with pytest.raises(BadInput, match=words):
        make()


def test_erdos_renyi_joins_as_many_pairs_as_its_probability_says():
    agents, probability = 200, 0.1
    counts = [graph(ErdosRenyi(probability=probability), agents, seed=seed).edges for seed in range(20)]
    pairs = agents * (agents - 1) / 2
    assert np.mean(counts) == pytest.approx(
        pairs * probability, abs=4 * math.sqrt(pairs * probability * 0.9 / 20)
    )
    assert graph(ErdosRenyi(), agents).connected


def test_a_small_world_keeps_its_edges_and_shortens_its_paths():
    lattice, small = (graph(SmallWorld(degree=6, rewire=rewire), 100) for rewire in (0.0, 0.2))
    assert lattice.edges == small.edges == 300
    assert (lattice.degrees == 6).all()
    length = lambda one: networkx.average_shortest_path_length(  # noqa: E731
        networkx.Graph(np.stack([one.source, one.target], axis=1).tolist())
    )
    assert length(small) < 0.6 * length(lattice)


@pytest.mark.parametrize("agents", [2, 3, 8, 9, 50])
def test_a_matching_pairs_all_but_the_odd_one(agents):
    for round in range(5):
        found = graph(RandomMatching(), agents, round=round)
        assert sorted(found.degrees.tolist(), reverse=True) == [1] * (agents - agents % 2) + [0] * (
            agents % 2
        )
        weights = RandomMatching().mixing(Roster.of(agents), round, 0).weights
        assert set(weights.tolist()) <= {0.5, 1.0}


def test_matchings_meet_every_pair_equally_often():
    counts = np.zeros((6, 6))
    for round in range(3000):
        found = graph(RandomMatching(), 6, round=round)
        counts[found.source, found.target] += 1
    off = counts[~np.eye(6, dtype=bool)]
    assert off.min() > 0.85 * 3000 / 5
    assert off.max() < 1.15 * 3000 / 5


@pytest.mark.parametrize(
    "topology", [RandomRegular(), ErdosRenyi(), SmallWorld(rewire=0.5), RandomMatching()]
)
def test_seeds_draw_different_graphs(topology):
    drawn = {graph(topology, 40, seed=seed).source.tobytes() for seed in range(4)}
    assert len(drawn) > 1
