"""D-Cliques: the counts of its paper, and greedy swap."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.decentralized.facts import facts, stand_in
from edgekit.decentralized.keys import stream
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.between import PAIRS, links_between
from edgekit.decentralized.topologies.complete import Complete
from edgekit.decentralized.topologies.d_cliques import DCliques
from edgekit.decentralized.topologies.greedy_swap import greedy_swap, skews
from edgekit.errors import BadInput


def test_a_thousand_agents_need_as_few_edges_and_messages_as_the_paper_says():
    roster = stand_in(1000)
    start = time.perf_counter()
    graph = DCliques(size=10, swaps=1001).graph(roster, 0, 0)  # 1001: not remembered from elsewhere
    assert time.perf_counter() - start < 5  # 0.06 s alone
    within, between = 100 * 45, 100 * 99 // 2
    assert graph.edges == within + between == 9450
    whole = Complete().graph(roster, 0, 0)
    assert (whole.edges, whole.arcs) == (499_500, 999_000)
    assert 1 - graph.edges / whole.edges == pytest.approx(0.98, abs=0.002)
    found = facts(DCliques(), roster)
    # a model both ways over every edge; within cliques also the parts of a gradient and of its mean, both ways
    assert found.messages_per_round == 2 * graph.edges + 4 * within == 36_900
    assert 1 - found.message_fraction == pytest.approx(0.96, abs=0.004)
    assert found.degree.max - found.degree.min <= 1


@pytest.mark.parametrize(("agents", "classes"), [(20, 10), (50, 10), (100, 10), (60, 6)])
def test_one_class_an_agent_ends_without_skew(agents, classes):
    histograms = np.eye(classes)[np.arange(agents) % classes]
    for seed in range(3):
        cliques = greedy_swap(histograms, classes, 1000, stream(seed))
        assert skews(histograms, cliques).max() < 1e-12
        assert sorted(len(clique) for clique in cliques) == [classes] * (agents // classes)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(1, 5), st.integers(0, 100))
def test_greedy_swap_never_raises_the_skew_and_keeps_everyone(agents, size, classes, seed):
    histograms = np.random.default_rng(seed).integers(0, 30, (agents, classes)).astype(float)
    before = np.inf
    for swaps in (0, 1, 2, 5, 20, 100):  # the same stream: each goes on where the one before ended
        cliques = greedy_swap(histograms, size, swaps, stream(seed))
        total = skews(histograms, cliques).sum()
        assert total <= before + 1e-9
        before = total
        assert sorted(np.concatenate(cliques).tolist()) == list(range(agents))
        assert max(map(len, cliques)) <= size
        assert max(map(len, cliques)) - min(map(len, cliques)) <= 1


def test_swaps_lower_the_skew_of_uneven_agents():
    histograms = np.random.default_rng(1).dirichlet([0.1] * 10, 100) * 500
    first, last = (
        skews(histograms, greedy_swap(histograms, 10, swaps, stream(0))).mean() for swaps in (0, 1000)
    )
    assert last < 0.3 * first


def test_an_agent_without_samples_is_taken():
    histograms = np.eye(4)[np.arange(12) % 4]
    histograms[3] = 0
    roster = Roster(tuple(range(12)), histograms=histograms)
    assert DCliques(size=4).graph(roster, 0, 0).connected
    assert DCliques(size=4).graph(Roster(tuple(range(12)), histograms=np.zeros((12, 4))), 0, 0).connected


@pytest.mark.parametrize(
    ("between", "edges"),
    [("complete", 4950), ("ring", 100), ("fractal", 10 * 45 + 45), ("small-world", 1300)],
)
def test_cliques_are_joined_evenly(between, edges):
    cliques = [np.arange(10 * place, 10 * place + 10) for place in range(100)]
    links = links_between(cliques, between)
    assert len({tuple(sorted(link)) for link in links.tolist()}) == edges
    assert (links[:, 0] // 10 != links[:, 1] // 10).all()
    load = np.bincount(links.reshape(-1), minlength=1000).reshape(100, 10)
    assert (load.max(1) - load.min(1)).max() <= 1


@pytest.mark.parametrize("between", sorted(PAIRS))
@pytest.mark.parametrize("count", [1, 2, 3, 5, 11])
def test_few_cliques_are_joined_too(between, count):
    roster = stand_in(count * 3)
    topology = DCliques(size=3, between=between)
    found = topology.graph(roster, 0, 0)
    assert found.connected
    assert len(topology.groups(roster, 0, 0)) == count
    assert found.edges <= 3 * count + count * (count - 1) // 2


def test_the_groups_are_the_cliques_and_follow_the_roster():
    roster, topology = stand_in(40), DCliques(size=10)
    for group in topology.groups(roster, 7, 1):
        assert sorted(member % 10 for member in group) == list(range(10))
    left = roster.without(frozenset({0, 17}))
    assert sorted(member for group in topology.groups(left, 7, 1) for member in group) == list(range(38))
    other = Roster(roster.ids, histograms=np.sort(roster.histograms, axis=0))
    assert topology.groups(other, 0, 1) != topology.groups(roster, 0, 1)


def test_groups_of_every_round_are_quick():
    roster = stand_in(1000)
    DCliques().groups(roster, 0, 0)
    start = time.perf_counter()
    for round in range(100):
        DCliques().groups(roster, round, 0)
    assert time.perf_counter() - start < 1


def test_without_histograms_it_says_what_it_needs():
    with pytest.raises(BadInput, match=r"the roster has no histograms\. Use data with labels"):
        DCliques().graph(Roster.of(20), 0, 0)
    for wrong in ({"size": 0}, {"swaps": -1}):
        with pytest.raises(BadInput, match="d-cliques: s"):
            DCliques(**wrong)
