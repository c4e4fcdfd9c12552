"""Eight bits: levels, their error, and the offset at which a naive quantizer fails."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.codecs.codec import BadPayload, RowSpec
from edgekit.codecs.uint8 import UInt8
from tests.codecs.rows import chance, loss, normal, through

NEAREST, STOCHASTIC = UInt8(stochastic=False), UInt8()


def step_of(row: np.ndarray) -> float:
    return (float(row.max()) - float(row.min())) / 255


@pytest.mark.parametrize(("dtype", "number"), [("float32", 8), ("float64", 16)])
def test_two_numbers_a_layer_and_a_byte_a_value(dtype: str, number: int):
    spec = RowSpec(100, dtype, ((0, 30), (30, 100)))
    assert (
        len(STOCHASTIC.encode(normal(100, dtype), spec, chance()))
        == 2 * number + 100
        == STOCHASTIC.size(spec)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("offset", [0, 3, -1000])
def test_the_error_is_half_a_step_or_below_a_step(dtype: str, scale: float, offset: float):
    row = (scale * (normal(5000, "float64") + offset)).astype(dtype)
    allowed = 255 * 2 * np.spacing(np.abs(row).max()) / 255
    assert np.abs(through(NEAREST, row) - row).max() <= 0.5 * step_of(row) + allowed
    assert np.abs(through(STOCHASTIC, row) - row).max() <= step_of(row) + 2 * allowed


@pytest.mark.parametrize("codec", [NEAREST, STOCHASTIC])
def test_a_large_offset_loses_nothing(codec):
    """x * 255 / range in float32 misses by 28 steps here, and passes 255."""
    row = (1e5 + 0.08 * chance().random(4000)).astype(np.float32)
    assert through(codec, row).tobytes() == row.tobytes()


@pytest.mark.parametrize("offset", [1e2, 1e3, 1e5])
def test_an_offset_costs_half_a_step_and_half_a_spacing_at_most(offset: float):
    row = (offset + 0.08 * chance().random(4000)).astype(np.float32)
    assert np.abs(through(NEAREST, row) - row).max() <= 0.5 * step_of(row) + np.spacing(np.float32(offset))
    wide = offset + 0.08 * chance().random(4000)
    assert np.abs(through(NEAREST, wide) - wide).max() <= 0.5001 * step_of(wide)


@pytest.mark.parametrize("codec", [NEAREST, STOCHASTIC])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e5 / 3, 1e-40])
def test_a_constant_layer_is_exact(codec, dtype: str, value: float):
    row = np.concatenate([np.full(40, value), normal(60, "float64")]).astype(dtype)
    seen = through(codec, row, RowSpec(100, dtype, ((0, 40), (40, 40), (40, 100))))
    assert seen[:40].tobytes() == row[:40].tobytes()


@pytest.mark.parametrize("codec", [NEAREST, STOCHASTIC])
def test_whole_numbers_up_to_255_are_levels(codec):
    row = np.arange(256, dtype=np.float32) - 100
    assert through(codec, row).tolist() == row.tolist()


@pytest.mark.parametrize("width", [0.5, 1.4, 2.5])
def test_it_is_unbiased_where_a_step_is_about_a_spacing(width: float):
    """Levels between floating-point numbers would be rounded by the receiver, always the same way."""
    spacing = float(np.spacing(np.float32(1e5)))
    row = (1e5 + spacing * np.floor(255 * width * chance().random(64))).astype(np.float32)
    draws = np.array([through(STOCHASTIC, row, seed=seed) for seed in range(3000)], np.float64) - row
    sigma = np.maximum(draws.std(0), 1e-3 * spacing) / 3000**0.5
    assert (np.abs(draws.mean(0)) <= 5 * sigma).all()


def test_the_variance_of_a_value_between_levels():
    """f (1 - f) step^2 at the fraction f of a step."""
    row = np.float32([0, 255, *(k + 0.25 for k in range(100))])
    draws = np.array([through(STOCHASTIC, row, seed=seed) for seed in range(2000)])[:, 2:] - row[2:]
    assert np.mean(draws**2) == pytest.approx(0.25 * 0.75, rel=0.01)
    assert np.mean(draws) == pytest.approx(0, abs=4 * 0.433 / 200_000**0.5)


def test_the_declared_loss_is_nearly_reached():
    """Two ends, and all else in the middle, half-way between two levels: d (step / 2)^2 of (max - min)^2 / 2."""
    row = np.float32([-127.5, 127.5, *[0.0] * 998])
    seen = loss(row, through(NEAREST, row))
    assert 0.99 < seen / (1 - NEAREST.contraction(RowSpec(1000))) <= 1
    assert loss(row, through(STOCHASTIC, row)) <= STOCHASTIC.variance(RowSpec(1000))


def test_what_is_declared_follows_the_rounding():
    spec = RowSpec(1300)
    assert (STOCHASTIC.unbiased, STOCHASTIC.variance(spec), STOCHASTIC.contraction(spec)) == (
        True,
        0.01,
        None,
    )
    assert (NEAREST.unbiased, NEAREST.variance(spec), NEAREST.contraction(spec)) == (False, None, 0.99)
    assert NEAREST.contraction(RowSpec(200_000)) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_ends_of_the_range_stay_finite(dtype: str):
    top = float(np.finfo(dtype).max)
    seen = through(NEAREST, np.array([top, -top, 0, top / 4, -top / 4], dtype))
    assert np.isfinite(seen).all()
    assert seen[0] == pytest.approx(top / 4, rel=1e-4)
    assert seen[1] == pytest.approx(-top / 4, rel=1e-4)


@pytest.mark.parametrize(
    ("low", "step"),
    [(np.nan, 1), (np.inf, 1), (0, np.nan), (0, np.inf), (0, -1), (3e38, 3e38), (-3e38, 3e38)],
)
def test_levels_that_no_agent_sends_are_refused(low: float, step: float):
    with pytest.raises(BadPayload, match="uint8"):
        NEAREST.decode(np.float32([low, step]).tobytes() + b"\x01", RowSpec(1))
