"""Scaled sign: one bit, one scale a layer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.codecs.codec import BadPayload, RowSpec
from edgekit.codecs.scaled_sign import ScaledSign
from tests.codecs.rows import chance, loss, normal, through

SIGN = ScaledSign()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1000])
def test_a_bit_a_value_and_four_bytes_a_layer(dtype: str, size: int):
    spec = RowSpec(size, dtype, ((0, size // 2), (size // 2, size)))
    payload = SIGN.encode(normal(size, dtype), spec, chance())
    assert len(payload) == 8 + math.ceil(size / 8) == SIGN.size(spec)


def test_each_layer_has_the_scale_of_its_own():
    row = np.float32([1, -3, 0.5, -0.5, 0, 0.25])
    spec = RowSpec(6, layers=((0, 2), (2, 2), (2, 6)))
    assert through(SIGN, row, spec).tolist() == [2, -2, 0.3125, -0.3125, 0.3125, 0.3125]


def test_the_error_on_gaussian_values():
    """sqrt(1 - 2/pi) = 0.603 of the norm."""
    error = math.sqrt(loss(normal(1_000_000), through(SIGN, normal(1_000_000))))
    assert error == pytest.approx(math.sqrt(1 - 2 / math.pi), abs=1e-3)


@pytest.mark.parametrize("size", [1, 2, 10, 1000])
def test_the_contraction_is_reached_by_a_single_value(size: int):
    row = np.zeros(size, np.float32)
    row[0] = -3
    assert loss(row, through(SIGN, row)) == pytest.approx(1 - 1 / size, abs=1e-6)
    assert SIGN.contraction(RowSpec(size)) == 1 / size


def test_the_loss_is_what_the_norms_say():
    """1 - ||x||_1^2 / (d ||x||_2^2)."""
    row = np.exp(normal(500, "float64")) * np.sign(normal(500, "float64", 2))
    delta = np.abs(row).sum() ** 2 / (500 * np.sum(row**2))
    assert loss(row, through(SIGN, row)) == pytest.approx(1 - delta, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_values_stay_finite(dtype: str):
    row = np.full(9, np.finfo(dtype).max, dtype)
    assert np.isfinite(through(SIGN, row)).all()


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0])
def test_a_scale_that_no_agent_sends_is_refused(scale: float):
    with pytest.raises(BadPayload, match="scaled-sign: a scale is negative or not finite"):
        SIGN.decode(np.float32([scale]).tobytes() + b"\x00", RowSpec(8))
