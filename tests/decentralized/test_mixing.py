"""Mixing matrices: what each rule promises on any graph, what is left when arcs fail, and how fast W mixes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.mixing import RULES, Mixing, contraction, rounds_to_consensus, rule
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.complete import Complete
from edgekit.decentralized.topologies.one_peer_exponential import OnePeerExponential
from edgekit.decentralized.topologies.ring import Ring
from edgekit.errors import BadInput


def drawn(size: int, density: float, seed: int, *, directed: bool = False) -> Graph:
    pairs = np.argwhere(np.random.default_rng(seed).random((size, size)) < density)
    return (Graph.directed if directed else Graph.undirected)(size, pairs)


CASES = (st.integers(2, 16), st.floats(0.05, 1), st.integers(0, 10_000))


@settings(max_examples=120, deadline=None)
@given(*CASES)
def test_metropolis_and_max_degree_are_doubly_stochastic_on_any_undirected_graph(size, density, seed):
    graph = drawn(size, density, seed)
    for name in ("metropolis", "max-degree"):
        mixing = rule(name)(graph)
        assert mixing.symmetric
        assert mixing.row_stochastic
        assert mixing.column_stochastic
        assert mixing.weights.min() > 0
        assert (mixing.second < 1 - 1e-9) == graph.connected


@settings(max_examples=120, deadline=None)
@given(*CASES)
def test_rows_of_uniform_and_columns_of_push_sum_sum_to_one_on_any_digraph(size, density, seed):
    graph = drawn(size, density, seed, directed=True)
    assert rule("uniform")(graph).row_stochastic
    assert rule("column-stochastic")(graph).column_stochastic
    for name in ("uniform", "column-stochastic"):
        mixing = rule(name)(graph)
        assert np.array_equal(mixing.graph.source, graph.source)
        assert np.array_equal(mixing.graph.target, graph.target)


@settings(max_examples=80, deadline=None)
@given(*CASES, st.floats(0, 1))
def test_without_some_arcs_rows_or_columns_still_sum_to_one(size, density, seed, loss):
    graph = drawn(size, density, seed, directed=True)
    chance = np.random.default_rng(seed + 1).random((size, size))

    def gone(source, target):
        return chance[source, target] < loss

    for name, keep in (("uniform", False), ("column-stochastic", True)):
        whole = rule(name)(graph)
        left = whole.without(gone, keep_columns=keep)
        full, part = whole.matrix(), left.matrix()
        assert left.column_stochastic if keep else left.row_stochastic
        off = ~np.eye(size, dtype=bool)
        lost = gone(*np.meshgrid(np.arange(size), np.arange(size)))  # [target, source]
        assert np.array_equal(part[off], np.where(lost, 0.0, full)[off])


@settings(max_examples=60, deadline=None)
@given(*CASES)
def test_links_that_fail_both_ways_leave_a_symmetric_matrix_doubly_stochastic(size, density, seed):
    chance = np.random.default_rng(seed).random((size, size))
    chance = np.minimum(chance, chance.T)
    left = rule("metropolis")(drawn(size, density, seed)).without(
        lambda source, target: chance[source, target] < 0.4
    )
    assert left.symmetric
    assert left.row_stochastic
    assert left.column_stochastic


@settings(max_examples=60, deadline=None)
@given(*CASES)
def test_a_dense_matrix_comes_back(size, density, seed):
    matrix = rule("uniform")(drawn(size, density, seed, directed=True)).matrix()
    mixing = Mixing.dense(matrix)
    assert np.array_equal(mixing.matrix(), matrix)
    for agent in range(size):
        sources, weights = mixing.row(agent)
        assert (np.diff(sources) > 0).all()
        assert agent in sources
        assert weights.sum() == pytest.approx(1)


def test_nothing_lost_is_the_same_matrix():
    mixing = rule("metropolis")(drawn(6, 0.5, 1))
    assert mixing.without(lambda source, target: np.zeros(len(source), bool)) is mixing


def test_what_is_left_of_a_product_is_its_norm_beside_the_mean():
    roster = Roster.of(6)
    rounds = [OnePeerExponential().mixing(roster, round, 0) for round in range(3)]
    product = rounds[2].matrix() @ rounds[1].matrix() @ rounds[0].matrix()
    assert contraction(rounds) == pytest.approx(np.linalg.norm(product - 1 / 6, 2))


def test_rounds_to_consensus_are_enough_and_not_one_too_many():
    mixing = Ring().mixing(Roster.of(8), 0, 0)
    needed = rounds_to_consensus([mixing])
    left = lambda rounds: np.linalg.norm(np.linalg.matrix_power(mixing.matrix(), rounds) - 1 / 8, 2)  # noqa: E731
    assert left(needed) <= 1e-6 < left(needed - 1)
    assert rounds_to_consensus([Complete().mixing(Roster.of(8), 0, 0)]) == 1
    assert (
        rounds_to_consensus([OnePeerExponential().mixing(Roster.of(8), round, 0) for round in range(3)]) == 3
    )
    assert rounds_to_consensus([rule("metropolis")(Graph.undirected(4, [(0, 1), (2, 3)]))]) is None


@settings(max_examples=30, deadline=None)
@given(*CASES)
def test_only_a_graph_that_works_both_ways_takes_symmetric_weights(size, density, seed):
    graph = drawn(size, density, seed, directed=True)
    assume(not graph.symmetric)
    for name in ("metropolis", "max-degree"):
        with pytest.raises(BadInput, match="Choose uniform or column-stochastic"):
            rule(name)(graph)


def test_an_unknown_rule_and_too_many_agents_are_refused():
    with pytest.raises(BadInput, match="Did you mean 'metropolis'"):
        rule("metropoli")
    assert set(RULES) == {"metropolis", "max-degree", "uniform", "column-stochastic"}
    with pytest.raises(BadInput, match="at most 4000"):
        _ = Ring().mixing(Roster.of(4001), 0, 0).second
