"""MATCHA: matchings, the expected matrix, and alpha."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.decentralized.facts import facts
from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.complete import Complete
from edgekit.decentralized.topologies.custom import Custom
from edgekit.decentralized.topologies.exponential import Exponential
from edgekit.decentralized.topologies.matcha import Matcha, _plan, best_alpha
from edgekit.decentralized.topologies.matchings import matchings
from edgekit.decentralized.topologies.random_matching import RandomMatching
from edgekit.decentralized.topologies.random_regular import RandomRegular
from edgekit.decentralized.topologies.ring import Ring
from edgekit.errors import BadInput


def laplacian(graph: Graph) -> np.ndarray:
    found = np.diag(graph.degrees.astype(float))
    found[graph.target, graph.source] = -1
    return found


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 25), st.floats(0, 1), st.integers(0, 1000))
def test_matchings_are_a_partition_of_the_edges_without_common_ends(agents, density, seed):
    edges = np.argwhere(np.triu(np.random.default_rng(seed).random((agents, agents)) < density, 1))
    graph = Graph.undirected(agents, edges)
    found = matchings(graph)
    assert len(found) <= int(graph.degrees.max()) + 1
    for part in found:
        assert len(np.unique(part)) == 2 * len(part)
    together = [tuple(edge) for part in found for edge in part.tolist()]
    assert sorted(together) == sorted(map(tuple, edges.tolist()))


@pytest.mark.parametrize("budget", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("base", [Ring(), RandomRegular(degree=3), Complete()])
def test_the_expected_matrix_is_what_the_closed_form_says(base, budget):
    roster, rounds = Roster.of(8), 4000
    topology = Matcha(base=base, budget=budget)
    plan, full = _plan(topology, roster, 0), laplacian(base.graph(roster, 0, 0))
    drawn = np.stack([topology.mixing(roster, round, 0).matrix() for round in range(rounds)])
    mean = np.eye(8) - plan.alpha * budget * full
    square = (
        np.eye(8)
        - 2 * plan.alpha * budget * full
        + plan.alpha**2 * (budget**2 * full @ full + 2 * budget * (1 - budget) * full)
    )
    assert np.abs(drawn.mean(0) - mean).max() < 0.02
    assert np.abs((drawn @ drawn).mean(0) - square).max() < 0.02
    left = np.linalg.norm(square - 1 / 8, 2)
    assert topology.contraction(roster, 0) == pytest.approx(np.sqrt(left), abs=1e-12)
    assert left < 1


@pytest.mark.parametrize("budget", [0.1, 0.3, 0.7, 1.0])
def test_alpha_is_the_best_of_all(budget):
    full = laplacian(RandomRegular(degree=3).graph(Roster.of(14), 0, 2))
    values = np.linalg.eigvalsh(full)

    def left(alpha: float) -> float:
        square = (
            np.eye(14)
            - 2 * alpha * budget * full
            + alpha**2 * (budget**2 * full @ full + 2 * budget * (1 - budget) * full)
        )
        return float(np.linalg.norm(square - 1 / 14, 2))

    best = best_alpha(budget, values[1], values[-1])
    searched = min(np.linspace(0.001, 1.5, 3000), key=left)
    assert best == pytest.approx(searched, abs=1e-3)
    assert left(best) <= left(searched) + 1e-9


@pytest.mark.parametrize("budget", [0.1, 0.5, 1.0])
def test_every_round_is_symmetric_doubly_stochastic_and_not_negative(budget):
    topology, roster = Matcha(budget=budget), Roster.of(20)
    for round in range(40):
        mixing = topology.mixing(roster, round, 3)
        assert mixing.symmetric
        assert mixing.row_stochastic
        assert mixing.column_stochastic
        assert mixing.weights.min() > -1e-12


def test_the_budget_is_the_part_of_the_links_that_speaks():
    topology, roster = Matcha(base=RandomRegular(degree=6), budget=0.3), Roster.of(30)
    edges = np.mean([topology.graph(roster, round, 0).edges for round in range(600)])
    assert edges == pytest.approx(0.3 * 90, rel=0.06)
    assert topology.period(30) is None
    assert Matcha(budget=1.0).period(30) == 1
    found = facts(Matcha(base=Ring(), budget=1.0), roster)
    assert found.second_eigenvalue == pytest.approx(Matcha(base=Ring(), budget=1.0).contraction(roster, 0))


def test_it_brings_models_together_at_the_rate_it_promises():
    topology, roster = Matcha(base=RandomRegular(degree=4), budget=0.5), Roster.of(24)
    rows = np.random.default_rng(0).standard_normal((24, 5))
    for round in range(120):
        rows = topology.mixing(roster, round, 0).matrix() @ rows
    start = np.random.default_rng(0).standard_normal((24, 5))
    assert np.allclose(rows.mean(0), start.mean(0))
    ratio = np.linalg.norm(rows - rows.mean(0)) / np.linalg.norm(start - start.mean(0))
    assert ratio < 10 * topology.contraction(roster, 0) ** 120


def test_another_rule_weighs_the_active_links():
    mixing = Matcha().mixing(Roster.of(12), 0, 0, "max-degree")
    off = mixing.weights[mixing.sources != mixing.targets]
    assert np.allclose(off, 1 / (1 + mixing.graph.degrees.max()))


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (RandomMatching(), "changes from round to round"),
        (Exponential(), "is directed"),
        (Custom(edges=((0, 1), (2, 3))), "connected base"),
    ],
)
def test_a_base_it_cannot_take_is_refused(base, words):
    with pytest.raises(BadInput, match=words):
        Matcha(base=base).graph(Roster.of(8), 0, 0)
    with pytest.raises(BadInput, match="budget is 0"):
        Matcha(budget=0.0)
