"""How many rounds a comparison takes: never by what it shows, and at no cost to what its interval promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.profile.rounds import FIRST, more_rounds
from edgekit.profile.statistics import mean_interval, t_quantile


def measured(chance: np.random.Generator, mean: float, scatter: float, **options: float) -> np.ndarray:
    """The log ratios of one comparison."""
    logs = np.empty(0)
    while more := more_rounds(logs, **options):
        logs = np.concatenate([logs, chance.normal(mean, scatter, more)])
    return logs


@pytest.mark.parametrize("scatter", [0.002, 0.004, 0.007, 0.01, 0.014, 0.02, 0.03])
def test_intervals_cover_and_equal_models_stay_equal_whatever_the_noise(scatter: float):
    chance, tries, truth = np.random.default_rng(8), 1500, 0.03
    quantiles = {count: t_quantile(0.99, count - 1) for count in (5, 10, 20, 40)}
    covered = differs = found = 0
    for _ in range(tries):
        logs = measured(chance, 0.0, scatter)
        error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
        covered += mean_interval(logs).low <= 0 <= mean_interval(logs).high
        differs += abs(logs.mean()) > quantiles[len(logs)] * error
        found += abs(logs.mean() + truth) > quantiles[len(logs)] * error
    assert 0.92 <= covered / tries <= 0.97  # 0.934 at the worst, and 2 standard errors of 1500 comparisons
    assert differs / tries <= 0.045
    assert found / tries >= 0.99


def test_the_rounds_double_until_the_interval_is_narrow_enough_or_the_limit_is_met():
    assert more_rounds(np.empty(0)) == FIRST
    assert more_rounds(np.zeros(3)) == FIRST - 3
    wild = np.resize([0.5, -0.5], 40)
    assert [more_rounds(wild[:count]) for count in (5, 10, 20, 40)] == [5, 10, 20, 0]
    assert more_rounds(wild[:7]) == 3
    assert more_rounds(wild[:10], most=12) == 2
    assert more_rounds(wild[:5], most=5) == 0


def test_it_stops_where_the_half_width_is_what_was_wanted():
    logs = np.resize([0.01, -0.01], 10)
    value, _, high = mean_interval(logs)
    assert more_rounds(logs, wanted=1.001 * (high - value)) == 0
    assert more_rounds(logs, wanted=0.999 * (high - value)) == 10
    first = logs[:5]
    value, _, high = mean_interval(first)
    assert more_rounds(first, wanted=1.999 * (high - value)) == 5  # the first look wants half of it
    assert more_rounds(first, wanted=2.001 * (high - value)) == 0


def test_what_was_measured_is_never_looked_at_only_its_scatter():
    logs = np.random.default_rng(0).normal(0, 0.01, 20)
    for count in (5, 10, 20):
        assert more_rounds(logs[:count]) == more_rounds(logs[:count] + 0.3)


@pytest.mark.parametrize("options", [{"wanted": 0.0}, {"most": 4}, {"wanted": float("nan")}])
def test_a_wish_that_makes_no_sense_is_refused(options: dict[str, float]):
    with pytest.raises(BadInput, match="needs a width above 0 and at least 5 rounds"):
        more_rounds(np.zeros(5), **options)
