"""Percentiles and intervals against scipy, closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.profile.statistics import mean_interval, percentile, t_probability, t_quantile, trimmed_interval


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 12, 29, 100, 5000])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.995, 0.9995])
def test_t_quantile_agrees_with_scipy(freedom, probability):
    stats = pytest.importorskip("scipy.stats")
    assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-10)
    assert t_probability(1.7, freedom) == pytest.approx(stats.t.cdf(1.7, freedom), rel=1e-11)


def test_t_quantile_closed_forms():
    assert t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-10)  # Cauchy
    q = 2 * 0.975 - 1
    assert t_quantile(0.975, 2) == pytest.approx(q * math.sqrt(2 / (1 - q * q)), rel=1e-10)
    assert t_quantile(0.1, 7) == -t_quantile(0.9, 7)
    assert t_quantile(0.5, 4) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_t_quantile_refuses_certainty(probability):
    with pytest.raises(ValueError, match="probability"):
        t_quantile(probability, 3)


def test_mean_interval_by_hand():
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    half = 3.182446305284263 * math.sqrt(5 / 3) / 2
    assert interval == pytest.approx((2.5, 2.5 - half, 2.5 + half))


def test_no_trim_is_the_mean_interval():
    values = np.random.default_rng(0).normal(size=23)
    assert trimmed_interval(values, trim=0.0) == pytest.approx(mean_interval(values))


def test_trimmed_interval_agrees_with_yuen_in_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).normal(size=20)
    expected = stats.ttest_ind(values, values + 5.0, equal_var=False, trim=0.2)
    kept = 12
    assert (trimmed_interval(values).value - np.sort(values)[4:16].mean()) == pytest.approx(0.0)
    error = (trimmed_interval(values).high - trimmed_interval(values).value) / t_quantile(0.975, kept - 1)
    assert expected.statistic == pytest.approx(-5.0 / (math.sqrt(2) * error), rel=1e-9)


@pytest.mark.parametrize(
    ("interval", "draw"),
    [
        (mean_interval, lambda chance: chance.normal(3.0, 2.0, 12)),
        (trimmed_interval, lambda chance: chance.normal(3.0, 2.0, 30)),
        (trimmed_interval, lambda chance: 3.0 + chance.standard_t(2, 30)),
    ],
)
def test_ninety_five_percent_intervals_cover_the_truth(interval, draw):
    chance = np.random.default_rng(2)
    found = [interval(draw(chance)) for _ in range(1500)]
    share = np.mean([low <= 3.0 <= high for _, low, high in found])
    assert 0.93 <= share <= 0.975  # 0.95 with a standard error of 0.006


def test_trimming_withstands_spoilt_rounds():
    values = np.random.default_rng(3).normal(0.0, 0.01, 30)
    values[:4] += 5.0
    assert abs(trimmed_interval(values).value) < 0.01 < abs(mean_interval(values).value)


def test_an_interval_needs_two_values():
    with pytest.raises(ValueError, match="two values"):
        mean_interval([1.0])
    with pytest.raises(ValueError, match="two values"):
        trimmed_interval([1.0])


def test_percentiles_are_linear_between_neighbours():
    assert percentile([10.0, 20.0, 30.0, 40.0, 50.0], 90) == pytest.approx(46.0)
