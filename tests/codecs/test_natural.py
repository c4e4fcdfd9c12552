"""Natural compression: powers of two, without bias, with 9/8 of the second moment at most."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.codecs.codec import BadPayload, RowSpec
from edgekit.codecs.natural import Natural
from tests.codecs.rows import chance, loss, normal, through

NATURAL = Natural()


def second_moment(mantissa: float, count: int = 400_000) -> float:
    """E C(t)^2 / t^2, measured."""
    row = np.full(count, mantissa, np.float32)
    return (
        float(np.mean(NATURAL.project(row, RowSpec(count), chance(4)).astype(np.float64) ** 2)) / mantissa**2
    )


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1000])
def test_nine_bits_a_value(size: int):
    assert len(NATURAL.encode(normal(size), RowSpec(size), chance())) == math.ceil(9 * size / 8)
    assert NATURAL.size(RowSpec(size)) == math.ceil(9 * size / 8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_output_is_a_power_of_two_next_to_the_value(dtype: str):
    row = np.exp(5 * normal(20_000, "float64")).astype(dtype) * np.sign(normal(20_000, seed=2))
    seen = through(NATURAL, row)
    mantissa, _ = np.frexp(np.abs(seen))
    assert (mantissa == 0.5).all()
    assert (np.sign(seen) == np.sign(row)).all()
    assert ((np.abs(seen) <= 2 * np.abs(row)) & (2 * np.abs(seen) > np.abs(row))).all()


def test_powers_of_two_and_zero_stay():
    row = np.float32([0.0, 1, -1, 2**-126, -(2.0**127), 0.5, 2**-100])
    for seed in range(50):
        assert through(NATURAL, row, seed=seed).tolist() == row.tolist()


@pytest.mark.parametrize("mantissa", [1.0, 1.1, 1.25, 4 / 3, 1.5, 1.75, 1.999])
def test_it_goes_up_with_the_probability_of_the_mantissa(mantissa: float):
    row = np.full(400_000, -mantissa, np.float32)
    up = float(np.mean(NATURAL.project(row, RowSpec(len(row)), chance()) == -2))
    sigma = math.sqrt((mantissa - 1) * (2 - mantissa) / len(row))
    assert up == pytest.approx(mantissa - 1, abs=4 * sigma + 1e-7)


def test_the_second_moment_is_greatest_at_four_thirds_and_nine_eighths_there():
    """(3 m - 2) / m^2 at the mantissa m; sigma of one draw is below 1, of the mean below 1.6e-3."""
    grid = np.linspace(1, 2, 1001)
    closed = (3 * grid - 2) / grid**2
    assert grid[closed.argmax()] == pytest.approx(4 / 3, abs=1e-3)
    assert closed.max() == pytest.approx(9 / 8, abs=1e-6)
    for mantissa in (1.0, 1.2, 4 / 3, 1.5, 1.8):
        assert second_moment(mantissa) == pytest.approx((3 * mantissa - 2) / mantissa**2, abs=4e-3)
    assert NATURAL.variance(RowSpec(1)) == 9 / 8 - 1


def test_the_loss_on_gaussian_values():
    """0.0814 (log-uniform mantissas: 3 / (4 ln 2) - 1 = 0.0820)."""
    assert loss(normal(1_000_000), through(NATURAL, normal(1_000_000))) == pytest.approx(0.0814, abs=1e-3)


@pytest.mark.parametrize("value", [1e-40, 2.0**-127, 1e-44])
def test_values_below_the_normal_range_are_unbiased_too(value: float):
    row = np.full(400_000, value, np.float32)
    seen = NATURAL.project(row, RowSpec(len(row)), chance()).astype(np.float64) / 2.0**-126
    share = float(row[0]) / 2.0**-126
    assert set(np.unique(seen)) <= {0.0, 1.0}
    assert seen.mean() == pytest.approx(share, abs=4 * math.sqrt(share / len(row)) + 1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_beyond_is_sent_as_the_largest_power(dtype: str):
    top = float(np.finfo(dtype).max)
    assert through(NATURAL, np.array([top, -top, 2.0**127], dtype)).tolist() == [
        2.0**127,
        -(2.0**127),
        2.0**127,
    ]


def test_the_exponent_of_infinity_is_refused():
    with pytest.raises(BadPayload, match="natural: an exponent is that of NaN or infinity"):
        NATURAL.decode(b"\xff\x00", RowSpec(1))
    assert NATURAL.decode(b"\xfe\x80", RowSpec(1)).tolist() == [-(2.0**127)]


@pytest.mark.parametrize("size", [1, 2, 9, 50_000])
def test_without_bytes_the_bits_are_the_same(size: int):
    row, spec = normal(size), RowSpec(size)
    assert NATURAL.project(row, spec, chance(3)).tobytes() == through(NATURAL, row, spec, 3).tobytes()
