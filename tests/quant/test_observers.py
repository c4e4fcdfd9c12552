"""Observers against brute force and closed forms; scales at their edge cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import BadInput
from edgekit.quant.observers import (
    METHODS,
    MSE,
    Entropy,
    Histogram,
    MinMax,
    Percentile,
    divergence,
    observer,
    scale_for,
    weight_scale,
)
from edgekit.target import Grid

UNSIGNED = Grid(8, signed=False, symmetric=False)
SIGNED = Grid(8, signed=True, symmetric=True)
CHANNELS = Grid(8, signed=True, symmetric=True, per_channel=True)
finite = st.floats(-(2.0**100), 2.0**100, allow_nan=False, width=32)


@settings(max_examples=200, deadline=None)
@given(
    low=finite,
    high=finite,
    bits=st.integers(2, 8),
    signed=st.booleans(),
    symmetric=st.booleans(),
    reduced=st.booleans(),
)
def test_a_scale_is_positive_holds_zero_and_covers_its_range(low, high, bits, signed, symmetric, reduced):
    low, high = min(low, high), max(low, high)
    grid = Grid(bits + 1, signed=signed, symmetric=symmetric, reduced=reduced and signed)
    scale = scale_for(low, high, grid)
    step, zero = float(scale.scale[0]), int(scale.zero_point[0])
    assert scale.scale.dtype == np.float32
    assert step > 0
    assert grid.lowest <= zero <= grid.highest
    assert scale.dequantize(scale.quantize(np.zeros(1)))[0] == 0.0
    ends = np.array(
        [low if signed or not symmetric else max(low, 0.0), max(high, 0.0) if not signed else high]
    )
    if np.abs(ends).max() > 1e-30:
        assert np.abs(scale.dequantize(scale.quantize(ends)) - ends).max() <= step * 1.01


def test_an_empty_range_has_scale_one_and_a_false_range_is_refused():
    for grid in (UNSIGNED, SIGNED):
        assert scale_for(0.0, 0.0, grid).scale == np.float32(1.0)
        assert scale_for(0.0, 1e-45, grid).scale == np.float32(1.0)
    for low, high in ((1.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))):
        with pytest.raises(BadInput, match="is no range"):
            scale_for(low, high, UNSIGNED)


def test_scales_in_closed_form():
    assert scale_for(-1.0, 3.0, UNSIGNED).scale[0] == np.float32(4 / 255)
    assert scale_for(-1.0, 3.0, UNSIGNED).zero_point[0] == 64
    assert scale_for(0.5, 2.55, UNSIGNED).scale[0] == np.float32(0.01)
    assert scale_for(0.5, 2.55, UNSIGNED).zero_point[0] == 0
    assert scale_for(-2.54, 1.0, SIGNED).scale[0] == np.float32(0.02)
    assert scale_for(-1.0, 0.0, Grid(8, signed=True, symmetric=False)).zero_point[0] == 127
    assert scale_for(-6.3, 1.0, Grid(8, reduced=True)).scale[0] == np.float32(0.1)


def test_weight_scales_by_channel_and_axis():
    weight = np.random.default_rng(0).normal(size=(6, 4, 3, 3)).astype(np.float32)
    weight[2] = 0.0
    for axis in (0, 1):
        scale = weight_scale(weight, CHANNELS, axis=axis)
        largest = np.abs(weight).max(axis=tuple({0, 1, 2, 3} - {axis}))
        expected = np.where(largest > 0, largest / np.float32(127), np.float32(1.0))
        assert np.array_equal(scale.scale, expected)
        assert not scale.zero_point.any()
    assert weight_scale(weight, SIGNED).scale == [np.abs(weight).max() / np.float32(127)]
    weight[0, 0, 0, 0] = np.nan
    with pytest.raises(BadInput, match="NaN"):
        weight_scale(weight, CHANNELS)
    with pytest.raises(BadInput, match="symmetric"):
        weight_scale(weight, UNSIGNED)


def test_mse_weight_scales_are_the_best_of_their_candidates():
    rng = np.random.default_rng(1)
    grid = Grid(4, per_channel=True)
    weight = rng.standard_t(3, size=(8, 500)).astype(np.float32)
    best, plain = weight_scale(weight, grid, "mse"), weight_scale(weight, grid)
    for row in range(8):

        def error(step, row=row):
            return np.square(weight[row] - np.clip(np.rint(weight[row] / step), -7, 7) * step).sum()

        trials = plain.scale[row] * np.linspace(0.25, 1.0, 400)
        assert error(best.scale[row]) <= 1.02 * min(error(step) for step in trials)
        assert error(best.scale[row]) < error(plain.scale[row])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grid", [UNSIGNED, SIGNED])
def test_a_stream_equals_one_shot_whatever_its_order(method, grid):
    rng = np.random.default_rng(2)
    values = (rng.normal(size=40_000) * np.exp(rng.normal(size=40_000))).astype(np.float32)
    whole = observer(method, grid)
    whole.update(values)
    for order in (np.sort(values), np.sort(values)[::-1], values):
        stream = observer(method, grid)
        for part in np.array_split(order, 37):
            stream.update(part.reshape(-1, 1))
        stream.update(np.empty((0, 3), np.float32))
        assert stream.range() == whole.range()


def test_memory_stays_bounded_over_twenty_orders_of_magnitude():
    histogram = Histogram()
    for power in range(-12, 9):
        histogram.update(np.array([-3.0, 0.0, 2.0], np.float32) * np.float32(10.0) ** power)
    assert histogram.counts.size == 16384
    assert histogram.counts.sum() == 63
    assert histogram.range() == pytest.approx((-3e8, 2e8))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=40),
    st.integers(1, 5),
)
def test_every_value_is_in_the_bin_that_holds_it(values, parts):
    histogram = Histogram(half=64)
    for part in np.array_split(np.array(values, np.float32), parts):
        histogram.update(part)
    index = np.floor(np.array(values, np.float64) / histogram.width).astype(int) + 64
    assert np.array_equal(histogram.counts, np.bincount(index, minlength=128))
    largest = max(abs(value) for value in values)
    assert (
        largest == 0.0 or largest >= 32 * histogram.width or histogram.exponent == -149
    )  # no bins are wasted


def test_percentiles_agree_with_numpy():
    values = np.random.default_rng(3).normal(size=300_000).astype(np.float32)
    for percent in (99.0, 99.9, 99.99):
        one = Percentile(percent)
        one.update(values)
        expected = np.percentile(values, [100 - percent, percent])
        assert np.allclose(one.range(), expected, atol=2 * one.width + 1e-6)
    exact = Percentile(100.0)
    exact.update(values)
    assert exact.range() == (float(values.min()), float(values.max()))
    with pytest.raises(BadInput, match=r"99\.99"):
        Percentile(3.0)


def test_constant_and_one_sided_values():
    for value in (0.0, 5.0, -5.0):
        for method in METHODS:
            one = observer(method, UNSIGNED)
            one.update(np.full(1000, value, np.float32))
            low, high = one.range()
            scale = scale_for(low, high, UNSIGNED)
            assert np.allclose(scale.dequantize(scale.quantize(np.array([value]))), value, rtol=0.01), method


def quantization_error(values: np.ndarray, low: float, high: float, grid: Grid) -> float:
    scale = scale_for(low, high, grid)
    return float(np.square(values - scale.dequantize(scale.quantize(values))).mean())


@pytest.mark.parametrize("name", ["normal", "laplace", "relu", "outlier", "swish"])
@pytest.mark.parametrize("grid", [UNSIGNED, SIGNED, Grid(4, signed=False, symmetric=False)])
def test_mse_is_as_good_as_brute_force(name, grid):
    rng = np.random.default_rng(4)
    normal = rng.normal(size=60_000)
    values = {
        "normal": normal,
        "laplace": rng.laplace(size=60_000),
        "relu": np.maximum(normal, 0.0),
        "outlier": np.append(normal, [80.0]),
        "swish": 4 * normal / (1 + np.exp(-4 * normal)),
    }[name]
    values = values.astype(np.float32)
    one = MSE(grid)
    one.update(values)
    found = quantization_error(values, *one.range(), grid)
    low, high = min(values.min(), 0.0), values.max()
    factors = np.append(np.linspace(0.02, 1.0, 50), 1.0)
    brute = min(
        quantization_error(values, low * below, high * above, grid)
        for above in factors
        for below in (factors[::4] if low < 0 and not grid.symmetric else [above])
    )
    assert found <= 1.03 * brute
    assert found <= 1.0001 * quantization_error(values, low, high, grid)


def test_mse_of_a_normal_is_near_the_known_optimum():
    """A uniform quantizer of 2^4 levels over a normal has its least error at a step of 0.3352 (Max, 1960)."""
    grid = Grid(4, signed=True, symmetric=True)
    one = MSE(grid)
    one.update(np.random.default_rng(5).normal(size=500_000).astype(np.float32))
    step = float(scale_for(*one.range(), grid).scale[0])
    # Max's 16 levels lie at odd half steps; 15 levels with one at zero need a step a little wider.
    assert 0.33 < step < 0.37


def divergence_by_hand(size: list[float], count: int, levels: int) -> float:
    """Migacz' pseudo code, bin by bin."""
    p = [float(value) for value in size[:count]]
    p[-1] += sum(size[count:])
    q = [0.0] * count
    for level in range(levels):
        bins = range(level * count // levels, (level + 1) * count // levels)
        filled = [index for index in bins if p[index] > 0]
        total = sum(size[index] for index in bins)
        for index in filled:
            q[index] = total / len(filled)
    total_p, total_q = sum(p), sum(q)
    return sum(
        a / total_p * np.log((a / total_p) / max(b / total_q, 1e-12))
        for a, b in zip(p, q, strict=True)
        if a > 0
    )


def test_divergence_equals_the_published_pseudo_code():
    rng = np.random.default_rng(6)
    size = rng.poisson(np.exp(-np.arange(100) / 15) * 50).astype(float)
    for count in (16, 17, 40, 77, 100):
        assert divergence(size, count, 16) == pytest.approx(
            divergence_by_hand(list(size), count, 16), rel=1e-9
        )


def test_entropy_keeps_a_flat_distribution_and_cuts_a_tail():
    rng = np.random.default_rng(7)
    flat, tail = Entropy(SIGNED), Entropy(SIGNED)
    flat.update(rng.uniform(-4, 4, size=400_000).astype(np.float32))
    tail.update(np.append(rng.normal(size=400_000), [-60.0, 60.0]).astype(np.float32))
    assert max(np.abs(flat.range())) > 3.9
    assert 3.0 < tail.range()[1] < 12.0
    assert tail.range()[0] == -tail.range()[1]


def test_nothing_observed_and_unknown_names_are_one_line():
    for method in METHODS:
        with pytest.raises(BadInput, match="nothing was observed"):
            observer(method, UNSIGNED).range()
    with pytest.raises(BadInput, match="Did you mean 'entropy'"):
        observer("entropi", UNSIGNED)
    assert MinMax().low == np.inf
