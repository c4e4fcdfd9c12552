"""Peer clumping: clumps are found, and neighbours on the ring hold different data."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.clumping import Clumping
from edgekit.decentralized.topologies.clumps import clumps, silhouette
from edgekit.errors import BadInput


def separable(
    groups: list[int], *, width: int = 30, noise: float = 0.3, seed: int = 0
) -> tuple[Roster, np.ndarray]:
    """A roster whose proxies lie around one direction a group, at different lengths, and the group of each."""
    chance = np.random.default_rng(seed)
    labels = chance.permutation(np.repeat(np.arange(len(groups)), groups))
    middles = chance.standard_normal((len(groups), width))
    lengths = chance.uniform(0.1, 10, (len(labels), 1))
    points = lengths * (middles[labels] + noise * chance.standard_normal((len(labels), width)))
    return Roster(tuple(range(len(labels))), proxies=points), labels


def purity(found: np.ndarray, labels: np.ndarray) -> float:
    return sum(np.bincount(labels[found == clump]).max() for clump in np.unique(found)) / len(labels)


def neighbourhood_skew(topology: Clumping, roster: Roster, labels: np.ndarray) -> float:
    """Mean L1 distance of the labels of an agent and its neighbours to those of all."""
    graph, one_hot = topology.graph(roster, 0, 0), np.eye(labels.max() + 1)[labels]
    around = one_hot.copy()
    np.add.at(around, graph.target, one_hot[graph.source])
    around /= around.sum(1, keepdims=True)
    return float(np.abs(around - one_hot.mean(0)).sum(1).mean())


@pytest.mark.parametrize("groups", [[10, 10], [4, 4, 4, 4, 4], [12, 6, 3], [5] * 8])
@pytest.mark.parametrize("seed", range(3))
def test_separable_proxies_are_found(groups, seed):
    roster, labels = separable(groups, seed=seed)
    assert purity(Clumping(clumps=len(groups)).clump_of(roster, seed), labels) == 1.0
    alone = Clumping().clump_of(roster, seed)
    assert len(np.unique(alone)) == len(groups)
    assert purity(alone, labels) == 1.0


@pytest.mark.parametrize("groups", [[10, 10], [4, 4, 4, 4, 4]])
def test_neighbours_differ_more_than_at_random_and_less_where_alike_are_put_together(groups):
    roster, labels = separable(groups)
    mixed, drawn, alike = (
        neighbourhood_skew(Clumping(clumps=len(groups), arrange=arrange), roster, labels)
        for arrange in ("heterogeneous", "random", "homogeneous")
    )
    assert mixed < drawn < alike


def test_one_of_each_clump_comes_in_turn():
    roster, labels = separable([6, 6, 6])
    around = labels[Clumping(clumps=3).order(roster, 0)]
    assert all(len(set(around[place : place + 3])) == 3 for place in range(0, 18, 3))
    for half in (around[:9], around[9:]):
        assert set(half) == {0, 1, 2}  # a ring cut in two halves still has all of them on either side


def test_clumps_of_unequal_size_are_spread_evenly():
    roster, labels = separable([12, 4])
    around = labels[Clumping(clumps=2).order(roster, 0)]
    gaps = np.diff(np.flatnonzero(around == 1))
    assert gaps.min() >= 3
    assert gaps.max() <= 5


def test_alike_agents_follow_each_other_where_asked():
    roster, labels = separable([5, 5, 5])
    around = labels[Clumping(clumps=3, arrange="homogeneous").order(roster, 0)]
    assert (np.diff(around) != 0).sum() == 2


def test_proxies_that_are_equal_or_zero_do_no_harm():
    for points in (np.ones((6, 3)), np.zeros((6, 3))):
        roster = Roster(tuple(range(6)), proxies=points)
        for topology in (Clumping(), Clumping(clumps=4), Clumping(clumps=6)):
            assert topology.graph(roster, 0, 0).connected


def test_a_silhouette_is_one_for_tight_clumps_and_low_for_a_wrong_count():
    points = np.repeat(np.eye(3), 4, axis=0)
    distances = 1 - points @ points.T
    assert silhouette(distances, np.repeat(np.arange(3), 4)) == pytest.approx(1.0)
    assert silhouette(distances, np.repeat([0, 0, 1], 4)) < 0.8
    assert silhouette(distances, np.zeros(12, np.int64)) == 0.0
    assert clumps(points[:1], None, np.random.default_rng(0)).tolist() == [0]


def test_what_it_cannot_work_on_is_refused():
    with pytest.raises(BadInput, match="the roster has no proxies"):
        Clumping().graph(Roster.of(5), 0, 0)
    with pytest.raises(BadInput, match="NaN or infinite"):
        Clumping().graph(Roster((0, 1), proxies=np.array([[1.0], [np.nan]])), 0, 0)
    with pytest.raises(BadInput, match="5 agents do not fill 9 clumps"):
        Clumping(clumps=9).graph(Roster(tuple(range(5)), proxies=np.eye(5)), 0, 0)
    with pytest.raises(BadInput, match="clumps is 0"):
        Clumping(clumps=0)
    assert Clumping(arrange="random").graph(Roster.of(5), 0, 0).connected
