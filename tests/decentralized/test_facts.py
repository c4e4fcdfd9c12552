"""The facts of a topology: counts, rates, and over which rounds they were taken."""

from __future__ import annotations

import math
import time
from dataclasses import asdict

import numpy as np
import pytest

from edgekit.decentralized.facts import ROUNDS, Degree, apply, facts, messages_of, stand_in
from edgekit.decentralized.graph import Graph, union
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.complete import Complete
from edgekit.decentralized.topologies.custom import Custom
from edgekit.decentralized.topologies.exponential import Exponential
from edgekit.decentralized.topologies.hierarchical import Hierarchical
from edgekit.decentralized.topologies.moshpit import Moshpit
from edgekit.decentralized.topologies.one_peer_exponential import OnePeerExponential
from edgekit.decentralized.topologies.random_matching import RandomMatching
from edgekit.decentralized.topologies.ring import Ring
from edgekit.decentralized.topologies.star import Star
from edgekit.errors import BadInput


def test_a_ring():
    found = facts(Ring(), Roster.of(16))
    assert asdict(found) == {
        "agents": 16,
        "rounds": 1,
        "period": 1,
        "edges": 16,
        "edge_fraction": 16 / 120,
        "degree": {"min": 2, "mean": 2.0, "max": 2},
        "messages_per_round": 32,
        "message_fraction": 32 / 240,
        "second_eigenvalue": pytest.approx(1 / 3 + 2 / 3 * math.cos(math.pi / 8)),
        "rounds_to_consensus": math.ceil(math.log(1e-6) / math.log(1 / 3 + 2 / 3 * math.cos(math.pi / 8))),
        "symmetric": True,
        "doubly_stochastic": True,
        "connected": True,
    }


def test_a_complete_graph_is_the_measure():
    found = facts(Complete(), Roster.of(12))
    assert (found.edge_fraction, found.message_fraction) == (1.0, 1.0)
    assert (found.second_eigenvalue, found.rounds_to_consensus) == (0.0, 1)


def test_a_period_counts_the_union_of_its_graphs_and_the_messages_of_one():
    found = facts(OnePeerExponential(), Roster.of(8))
    static = facts(Exponential(), Roster.of(8))
    assert found.rounds == 3
    assert (found.edges, found.degree) == (static.edges, Degree(3, 3.0, 3))
    assert (found.messages_per_round, static.messages_per_round) == (8, 24)
    assert (found.second_eigenvalue, found.rounds_to_consensus) == (0.0, 3)
    six = facts(OnePeerExponential(), Roster.of(6))
    assert six.second_eigenvalue == pytest.approx(0.217 ** (1 / 3), abs=1e-3)


def test_where_every_round_is_drawn_anew_means_and_a_long_product_are_taken():
    found = facts(RandomMatching(), Roster.of(100))
    assert (found.rounds, found.period) == (ROUNDS, None)
    assert (found.edges, found.degree, found.connected) == (50, Degree(1, 1.0, 1), True)
    # a matching leaves half of the squared distance, in expectation; a typical product a little less
    assert 0.6 < found.second_eigenvalue < math.sqrt(0.5) + 0.02
    rows = np.random.default_rng(0).standard_normal((100, 1))
    rows -= rows.mean()
    start = np.linalg.norm(rows)
    for round in range(300, 300 + found.rounds_to_consensus):
        rows = apply(RandomMatching().mixing(Roster.of(100), round, 0), rows)
    assert 1e-8 < np.linalg.norm(rows) / start < 1e-4


def test_drawn_rounds_that_hit_the_exact_mean_say_after_how_many():
    found = facts(RandomMatching(), Roster.of(2))
    assert (found.second_eigenvalue, found.rounds_to_consensus) == (0.0, 1)
    odd = facts(RandomMatching(), Roster.of(3))
    assert (odd.edges, odd.degree.min, odd.degree.max) == (1, 0, 1)


def test_gradients_within_groups_count_where_groups_are_part_of_a_larger_graph():
    roster = Roster.of(16)
    graph = Hierarchical().graph(roster, 0, 0)
    assert facts(Hierarchical(), roster).messages_per_round == graph.arcs + 2 * 4 * 4 * 3
    assert facts(Moshpit(), roster).messages_per_round == 4 * 4 * 3  # its groups are the graph
    assert messages_of(graph, None) == graph.arcs


def test_a_rule_that_does_not_keep_the_mean_never_reaches_it():
    found = facts(Star(), Roster.of(8), 0, "uniform")
    assert found.rounds_to_consensus is None
    assert not found.doubly_stochastic
    with pytest.raises(BadInput, match="metropolis needs every link"):
        facts(Exponential(), Roster.of(8), 0, "metropolis")


def test_parts_that_never_speak_are_told():
    found = facts(Custom(edges=((0, 1), (2, 3))), Roster.of(4))
    assert (found.connected, found.rounds_to_consensus) == (False, None)


def test_one_agent_and_very_many():
    alone = facts(Ring(), Roster.of(1))
    assert (alone.edges, alone.edge_fraction, alone.connected) == (0, 0.0, True)
    many = facts(Ring(), Roster.of(5000))
    assert (many.second_eigenvalue, many.rounds_to_consensus, many.edges) == (None, None, 5000)


def test_applying_w_is_its_product():
    mixing = Star().mixing(Roster.of(7), 0, 0)
    rows = np.random.default_rng(0).standard_normal((7, 3))
    assert np.allclose(apply(mixing, rows), mixing.matrix() @ rows)


def test_a_union_has_the_arcs_of_all():
    one, two = Graph.undirected(4, [(0, 1)]), Graph.undirected(4, [(0, 1), (2, 3)])
    assert union([one, two]).edges == 2


def test_the_stand_in_has_one_class_an_agent():
    roster = stand_in(23)
    assert (roster.histograms > 0).sum(1).tolist() == [1] * 23
    assert (
        roster.histograms.argmax(1).tolist()
        == roster.proxies.argmax(1).tolist()
        == [i % 10 for i in range(23)]
    )


def test_a_thousand_agents_take_seconds():
    start = time.perf_counter()
    facts(OnePeerExponential(), Roster.of(1000))
    assert time.perf_counter() - start < 20  # 0.6 s alone
