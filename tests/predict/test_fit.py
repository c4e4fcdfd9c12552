"""The fit of a family: non-negative rates, leave-one-out by its closed form, interpolation, what is far is unsure."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.predict.fit import LENGTHS, NOISES, Fit, Shape, choose, left_out, non_negative, rough


def samples(count: int = 60, seed: int = 0):
    """Two sizes; time = (10 + macs) times a step of 2 where the first size passes 2^5."""
    chance = np.random.default_rng(seed)
    features = chance.uniform(0, 10, (count, 2))
    macs = 2 ** features.sum(1)
    costs = np.stack([np.ones(count), macs, 2 ** features[:, 0], 2 ** features[:, 1]], 1)
    return features, costs, (10 + macs) * np.where(features[:, 0] > 5, 2.0, 1.0)


def test_rates_that_are_exact_are_found():
    chance = np.random.default_rng(1)
    matrix, wanted = chance.random((40, 4)), np.array([0.5, 0.0, 2.0, 1.0])
    assert non_negative(matrix, matrix @ wanted) == pytest.approx(wanted, abs=1e-6)


def test_rates_meet_the_conditions_of_the_optimum():
    """Karush, Kuhn and Tucker: x >= 0, gradient >= 0, and one of the two zero for each column."""
    chance = np.random.default_rng(2)
    matrix, wanted = chance.standard_normal((30, 5)), chance.standard_normal(30)
    matrix[:, 2] = 0.0
    x = non_negative(matrix, wanted)
    gradient = matrix.T @ (matrix @ x - wanted)
    assert (x >= 0).all()
    assert (gradient > -1e-6).all()
    assert x * gradient == pytest.approx(np.zeros(5), abs=1e-6)


def test_the_closed_form_is_what_leaving_out_gives():
    features, costs, times = samples(12)
    missed = np.log(times / costs[:, 1])
    missed -= missed.mean()
    errors = []
    for index in range(len(times)):
        others = np.arange(len(times)) != index
        fit = Fit(
            Shape((0, 1, 0, 0), (3.0, 3.0), 0.03, 0.1),
            features[others],
            costs[others],
            np.exp(missed[others]) * costs[others, 1],
        )
        centre = np.median(missed[others])
        time, _ = fit.predict(features[index], costs[index])
        kept = Fit(
            Shape((0, 1, 0, 0), (3.0, 3.0), 0.03, 0.1),
            features[others],
            costs[others],
            np.exp(missed[others] - centre) * costs[others, 1],
        )
        assert np.log(kept.predict(features[index], costs[index])[0]) == pytest.approx(np.log(time) - centre)
        errors.append(missed[index] - plain(features, missed, index))
    assert left_out(features, missed, (3.0, 3.0), 0.03) == pytest.approx(np.array(errors))


def plain(features: np.ndarray, missed: np.ndarray, left: int) -> float:
    """Sample `left` from all others, by solving the system without it."""

    def covariance(a: np.ndarray, b: np.ndarray) -> float:
        r = np.sqrt(5) * np.linalg.norm((a - b) / 3.0)
        return (1 + r + r**2 / 3) * np.exp(-r)

    others = [index for index in range(len(missed)) if index != left]
    matrix = np.array([[covariance(features[i], features[j]) for j in others] for i in others])
    near = np.array([covariance(features[left], features[j]) for j in others])
    return float(near @ np.linalg.solve(matrix + (0.03 + 1e-6) * np.eye(len(others)), missed[others]))


def test_a_step_that_the_cost_model_misses_is_learnt():
    features, costs, times = samples(150)
    fit = Fit(choose(features, costs, times), features, costs, times)
    asked, asked_costs, wanted = samples(100, seed=9)
    away = np.abs(asked[:, 0] - 5) > 0.5
    found = np.array([fit.predict(x, c)[0] for x, c in zip(asked[away], asked_costs[away], strict=True)])
    assert np.median(np.abs(found / wanted[away] - 1)) < 0.05


def test_measured_samples_come_back_and_far_ones_are_unsure():
    features, costs, times = samples(40)
    fit = Fit(Shape(rough(features, costs, times).shape.rates, (3.0, 3.0), 0.0, 0.01), features, costs, times)
    time, sure = fit.predict(features[7], costs[7])
    far, unsure = fit.predict(features[7] + 100, costs[7])
    assert time == pytest.approx(times[7], rel=1e-2)
    assert sure < 0.05 < unsure
    assert np.isfinite(far)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_samples_make_a_fit_too(count):
    features, costs, times = samples(count)
    shape = choose(features, costs, times)
    fit = Fit(shape, features, costs, times)
    assert fit.predict(features[0], costs[0])[0] == pytest.approx(times[0], rel=0.5)
    assert shape.error > 0


def test_a_shape_survives_json():
    shape = choose(*samples(20))
    assert Shape.from_json(shape.to_json()) == shape
    assert set(shape.lengths) <= {*LENGTHS, 3.0}
    assert shape.noise in NOISES


def test_a_sample_that_was_disturbed_is_the_most_doubtful():
    features, costs, times = samples(60)
    times[17] *= 1.8
    assert np.abs(rough(features, costs, times).doubts()).argmax() == 17
    assert not rough(features[:2], costs[:2], times[:2]).doubts().any()
