"""What each partition promises: closed forms, expected skew, conservation on any labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.data.fsdd import fsdd
from edgekit.decentralized.partition.classes_per_agent import ClassesPerAgent
from edgekit.decentralized.partition.dirichlet import Dirichlet
from edgekit.decentralized.partition.iid import Iid
from edgekit.decentralized.partition.natural import Natural
from edgekit.decentralized.partition.resource_correlated import ResourceCorrelated
from edgekit.decentralized.partition.shards import Shards
from edgekit.decentralized.partition.shares import histograms, skew
from edgekit.decentralized.partition.sorted_fraction import SortedFraction
from edgekit.errors import BadInput
from tests.paths import shared

CLASSES = 10
BALANCED = np.random.default_rng(0).permutation(np.repeat(np.arange(CLASSES), 600))
BY_LABEL = [
    SortedFraction(0.5),
    Shards(2),
    ClassesPerAgent(2),
    Dirichlet(0.5, min_size=1),
    ResourceCorrelated(0.5, groups=2, min_size=1),
]


def counts(partition, agents=10, *, seed=0, labels=BALANCED):
    return histograms(labels, partition.divide(labels, agents, seed), CLASSES)


def mean_skew(partition, agents=10, seeds=12):
    return float(np.mean([skew(counts(partition, agents, seed=seed)) for seed in range(seeds)]))


def divided(partition, labels, agents, seed=0):
    """The shares, or why there are none."""
    try:
        return partition.divide(labels, agents, seed)
    except BadInput as error:
        return str(error)


# any labels, any number of agents: divided or refused


@settings(max_examples=150, deadline=None)
@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=80),
    agents=st.integers(1, 12),
    seed=st.integers(0, 2**40),
    partition=st.sampled_from([Iid(), SortedFraction(1.0), SortedFraction(0.3), Shards(1), *BY_LABEL]),
)
def test_every_sample_goes_to_one_agent(labels, agents, seed, partition):
    values = np.array(labels)
    shares = divided(partition, values, agents, seed)
    if isinstance(shares, str):
        assert shares.startswith("partition: ")
        return
    assert len(shares) == agents
    assert all(len(share) and share.dtype == np.int64 for share in shares)
    assert all((np.diff(share) > 0).all() for share in shares)
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(labels)))
    assert histograms(values, shares, 7).sum(0).tolist() == np.bincount(values, minlength=7).tolist()


@settings(max_examples=100, deadline=None)
@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=80),
    agents=st.integers(1, 12),
    fraction=st.floats(0, 1),
)
def test_shares_of_a_sorted_fraction_differ_by_one_sample_at_most(labels, agents, fraction):
    if agents > len(labels):
        return
    sizes = [len(share) for share in SortedFraction(fraction).divide(np.array(labels), agents, 0)]
    assert max(sizes) - min(sizes) <= 1


def test_a_share_is_a_function_of_its_seed_and_of_nothing_else():
    one, two = (Dirichlet(0.3).divide(BALANCED, 8, 5) for _ in range(2))
    assert all(map(np.array_equal, one, two))
    assert not all(map(np.array_equal, one, Dirichlet(0.3).divide(BALANCED, 8, 6)))


# iid and sorted fractions


def test_iid_shares_are_equal_and_near_the_whole():
    found = counts(Iid(), 7)
    assert found.sum(1).tolist() == [858, 857, 857, 857, 857, 857, 857]
    assert skew(found) < 0.15


def test_fully_sorted_is_one_class_an_agent():
    found = counts(SortedFraction(1.0))
    assert sorted((found > 0).sum(1).tolist()) == [1] * 10
    assert (found.sum(0) == 600).all()
    assert skew(found) == pytest.approx(2 - 2 / 10)


def test_five_agents_of_fully_sorted_data_hold_two_classes_each():
    assert (counts(SortedFraction(1.0), 5) > 0).sum(1).tolist() == [2] * 5


@pytest.mark.parametrize("fraction", [0.2, 0.4, 0.6, 0.8])
def test_a_sorted_fraction_has_the_skew_of_its_formula(fraction):
    # a large data set, so that the shuffled rest is near its expectation
    labels = np.repeat(np.arange(CLASSES), 20_000)
    found = counts(SortedFraction(fraction), labels=labels)
    assert skew(found) == pytest.approx(2 * fraction * (1 - 1 / 10), abs=0.02)
    largest = (found / found.sum(1, keepdims=True)).max(1)
    assert largest == pytest.approx(np.full(10, 0.1 + 0.9 * fraction), abs=0.01)


def test_none_sorted_is_as_skewed_as_iid():
    assert mean_skew(SortedFraction(0.0)) == pytest.approx(mean_skew(Iid()), rel=0.15)


# shards


@pytest.mark.parametrize("per_agent", [1, 2, 5])
def test_shards_are_equal_and_few(per_agent):
    found = counts(Shards(per_agent), 20)
    assert (found.sum(1) == len(BALANCED) / 20).all()
    assert ((found > 0).sum(1) <= per_agent).all()  # 600 a class are whole shards of 300, 150, 60


def test_a_shard_across_a_border_brings_one_class_more():
    found = counts(Shards(2), 7)
    assert ((found > 0).sum(1) <= 2 * 2).all()
    assert found.sum() == len(BALANCED)


def test_more_shards_are_less_skewed():
    assert mean_skew(Shards(1)) > mean_skew(Shards(2)) > mean_skew(Shards(6))


# classes per agent


@pytest.mark.parametrize(("classes", "agents"), [(1, 10), (1, 23), (2, 5), (3, 7), (10, 4)])
def test_each_agent_holds_exactly_so_many_classes(classes, agents):
    found = counts(ClassesPerAgent(classes), agents)
    holders = (found > 0).sum(0)
    assert (found > 0).sum(1).tolist() == [classes] * agents
    assert holders.max() - holders.min() <= 1
    assert (found.sum(0) == 600).all()
    for own in found.T:
        held = own[own > 0]
        assert held.max() - held.min() <= 1


def test_agents_choose_their_classes_at_random():
    chosen = {tuple(np.flatnonzero(row)) for row in counts(ClassesPerAgent(2), 40)}
    assert len(chosen) > 15


# Dirichlet


def test_large_alpha_is_near_iid_and_small_alpha_means_few_classes():
    assert mean_skew(Dirichlet(1e4)) < 0.05
    assert mean_skew(Dirichlet(1e4)) < mean_skew(Dirichlet(1.0)) < mean_skew(Dirichlet(0.1))
    few = counts(Dirichlet(0.02, min_size=1))
    assert np.median(((few / few.sum(1, keepdims=True)) > 0.02).sum(1)) <= 2


def test_proportions_have_the_moments_of_their_distribution():
    # q ~ Dir(a, ..., a) over n: mean 1/n, variance (1/n)(1 - 1/n) / (n a + 1)
    draws = np.stack([counts(Dirichlet(0.5, min_size=1), 5, seed=seed) / 600 for seed in range(200)])
    assert draws.mean() == pytest.approx(0.2)
    assert draws.var() == pytest.approx(0.2 * 0.8 / (5 * 0.5 + 1), rel=0.08)


def test_the_least_size_is_kept():
    for seed in range(20):
        assert counts(Dirichlet(0.1, min_size=100), seed=seed).sum(1).min() >= 100


@pytest.mark.parametrize("alpha", [1e-300, 1e-9, 1e-3, 1e3, 1e9])
def test_extreme_concentrations_are_divided_or_refused(alpha):
    for agents in (1, 3):
        shares = divided(Dirichlet(alpha, min_size=1), BALANCED, agents)
        if isinstance(shares, str):
            assert "Raise alpha" in shares
        else:
            assert sum(map(len, shares)) == len(BALANCED)


# labels that go with resources


def test_kinds_are_equal_and_differ_in_their_labels():
    partition = ResourceCorrelated(0.1, groups=3)
    kinds = partition.kinds(100)
    assert np.bincount(kinds).tolist() == [34, 33, 33]
    found = counts(partition, 30)
    shares = found / found.sum(1, keepdims=True)
    within, between = [], []
    for one in range(30):
        for two in range(one):
            gap = np.abs(shares[one] - shares[two]).sum()
            (within if partition.kinds(30)[one] == partition.kinds(30)[two] else between).append(gap)
    assert np.mean(within) < 0.4 < np.mean(between)


def test_one_kind_is_iid():
    assert mean_skew(ResourceCorrelated(0.1, groups=1)) == pytest.approx(mean_skew(Iid()), rel=0.2)


# natural owners


OWNERS = np.array(["c", "a", "b"])[np.arange(90) % 3]


def test_one_agent_an_owner_in_the_order_of_their_names():
    shares = Natural().divide(None, 3, 0, OWNERS)
    assert [set(OWNERS[share]) for share in shares] == [{"a"}, {"b"}, {"c"}]
    assert sum(map(len, shares)) == 90


def test_fewer_agents_hold_whole_owners_and_more_divide_them():
    (everything,) = Natural().divide(None, 1, 0, OWNERS)
    assert everything.tolist() == list(range(90))
    shares = Natural().divide(None, 6, 0, OWNERS)
    assert [set(OWNERS[share]) for share in shares] == [{"a"}, {"a"}, {"b"}, {"b"}, {"c"}, {"c"}]
    assert [len(share) for share in shares] == [15] * 6


def test_owners_may_be_numbers_or_objects():
    numbers = np.arange(60) % 12
    assert [set(numbers[share]) for share in Natural().divide(None, 12, 0, numbers)] == [
        {n} for n in range(12)
    ]
    mixed = np.array(["a", 1, None] * 5, dtype=object)
    assert len(Natural().divide(None, 3, 0, mixed)) == 3


def test_speakers_of_real_speech():
    dataset = fsdd(root=str(shared("fsdd")))
    speakers = sorted(set(dataset.groups.tolist()))
    shares = Natural().divide(dataset.train_y, len(speakers), 0, dataset.groups)
    assert [set(dataset.groups[share].tolist()) for share in shares] == [{name} for name in speakers]
    found = histograms(dataset.train_y, shares, 10)
    assert found.shape == (6, 10)
    assert found.sum() == len(dataset.train_x)
    assert skew(found) < 0.01  # speakers say every digit as often: their voices differ, not their labels
    halves = Natural().divide(dataset.train_y, 12, 0, dataset.groups)
    assert [len(set(dataset.groups[share].tolist())) for share in halves] == [1] * 12
    with pytest.raises(BadInput, match="finds 6 owners"):
        Natural().divide(dataset.train_y, 4, 0, dataset.groups)


# skew


def test_skew_of_known_histograms():
    assert skew(np.full((4, 5), 3.0)) == 0
    assert skew(np.eye(10)) == pytest.approx(1.8)
    assert skew(np.array([[3.0, 1.0], [1.0, 3.0]])) == pytest.approx(0.5)


# what is refused says what would do


@pytest.mark.parametrize(
    ("partition", "labels", "agents", "message"),
    [
        (Iid(), BALANCED[:3], 4, "3 samples for 4 agents.*at most 3 agents"),
        (Iid(), BALANCED, 0, "0 agents. Give 1 or more"),
        (Iid(), None, 3, "cannot tell how many samples"),
        (Shards(2), None, 3, "these data have none.*choose iid"),
        (Shards(2), BALANCED / 2, 3, r"labels are float64 \[6000\]"),
        (Shards(2), BALANCED.reshape(-1, 2), 3, r"\[3000, 2\]"),
        (Shards(5), BALANCED[:20], 10, "Lower per_agent to 2"),
        (ClassesPerAgent(11), BALANCED, 3, "11 classes an agent, but there are 10"),
        (
            ClassesPerAgent(1),
            BALANCED,
            4,
            "6 of 10 classes without an agent.*Raise classes to 3, or use 10 agents",
        ),
        (ClassesPerAgent(1), np.array([0, 1, 1, 1]), 4, "2 agents a class that has 1 samples"),
        (Dirichlet(0.5, min_size=700), BALANCED, 10, "Lower min_size to 600"),
        (Dirichlet(0.001, min_size=500), BALANCED, 10, "in 1000 draws of dirichlet with alpha 0.001"),
        (ResourceCorrelated(0.5, groups=4), BALANCED, 3, "4 groups of agents, but there are 3 agents"),
        (ResourceCorrelated(0.5, min_size=700), BALANCED, 10, "Lower min_size to 600"),
        (Natural(), BALANCED, 3, "these data name none"),
    ],
)
def test_what_cannot_be_divided_is_one_line(partition, labels, agents, message):
    with pytest.raises(BadInput, match=message) as caught:
        partition.divide(labels, agents, 0)
    assert "\n" not in str(caught.value)


def test_owners_that_do_not_fit_the_labels_or_the_agents_are_refused():
    with pytest.raises(BadInput, match="6000 labels and 90 groups"):
        Natural().divide(BALANCED, 3, 0, OWNERS)
    with pytest.raises(BadInput, match="3 owners, which do not go evenly into 4 agents"):
        Natural().divide(None, 4, 0, OWNERS)
    with pytest.raises(BadInput, match="1 samples of one owner over 2 agents"):
        Natural().divide(None, 4, 0, np.array(["a", "a", "a", "b"]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SortedFraction(1.2), "fraction is 1.2"),
        (lambda: SortedFraction(float("nan")), "fraction is nan"),
        (lambda: Shards(0), "per_agent is 0"),
        (lambda: ClassesPerAgent(0), "classes is 0"),
        (lambda: Dirichlet(0.0), "alpha is 0"),
        (lambda: Dirichlet(float("inf")), "alpha is inf"),
        (lambda: Dirichlet(1.0, min_size=0), "min_size is 0"),
        (lambda: ResourceCorrelated(-1.0), "alpha is -1"),
        (lambda: ResourceCorrelated(groups=0), "groups is 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, message):
    with pytest.raises(BadInput, match=message):
        make()
