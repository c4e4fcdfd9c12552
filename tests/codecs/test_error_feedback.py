"""Error feedback: nothing is lost for good."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.codecs.codec import RowSpec
from edgekit.codecs.error_feedback import ErrorFeedback
from edgekit.codecs.natural import Natural
from edgekit.codecs.raw import Raw
from edgekit.codecs.scaled_sign import ScaledSign
from edgekit.codecs.top_k import TopK
from edgekit.errors import BadInput
from tests.codecs.rows import chance, normal


@pytest.mark.parametrize("inner", [TopK(0.05), ScaledSign(), Natural()])
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("float64", 1e-12)])
def test_what_was_seen_and_the_residual_are_what_was_to_be_sent(inner, dtype: str, most: float):
    spec, codec = RowSpec(200, dtype), ErrorFeedback(inner)
    residual, seen, sent = np.zeros(200, dtype), np.zeros(200), np.zeros(200)
    for number in range(100):
        row = normal(200, dtype, number)
        sent += row
        seen += codec.see(row, spec, chance(number), residual)
    assert np.linalg.norm(seen + residual - sent) <= most * np.linalg.norm(sent)
    assert np.linalg.norm(residual) > 0


def test_a_value_too_small_to_be_chosen_is_sent_in_the_end():
    """Top 1 of (1, 0.3): 0.3 waits until it has become larger than what the other adds."""
    codec, spec, residual = ErrorFeedback(TopK(0.5)), RowSpec(2), np.zeros(2, np.float32)
    seen = [codec.see(np.float32([1, 0.3]), spec, chance(), residual).tolist() for _ in range(4)]
    assert seen[:3] == [[1, 0]] * 3
    assert seen[3] == [0, pytest.approx(1.2)]
    assert residual.tolist() == [1, 0]


@pytest.mark.parametrize("inner", [TopK(0.05), ScaledSign(), Natural()])
def test_with_and_without_bytes_all_is_the_same(inner):
    codec, spec = ErrorFeedback(inner), RowSpec(200)
    one, two = np.zeros(200, np.float32), np.zeros(200, np.float32)
    for number in range(5):
        row = normal(200, seed=number)
        payload, sent = codec.transmit(row, spec, chance(number), one)
        seen = codec.see(row, spec, chance(number), two)
        assert codec.decode(payload, spec).tobytes() == sent.tobytes() == seen.tobytes()
        assert one.tobytes() == two.tobytes()


def test_around_a_lossless_codec_the_residual_stays_zero():
    residual, row = np.zeros(9, np.float32), normal(9)
    assert ErrorFeedback(Raw()).see(row, RowSpec(9), chance(), residual).tobytes() == row.tobytes()
    assert not residual.any()


def test_the_row_is_left_as_it_is():
    row = normal(9)
    before = row.tobytes()
    ErrorFeedback(ScaledSign()).transmit(row, RowSpec(9), chance(), np.ones(9, np.float32))
    assert row.tobytes() == before


def test_a_row_that_is_refused_does_not_spoil_the_residual():
    residual = np.ones(2, np.float32)
    with pytest.raises(BadInput, match="scaled-sign: a row to be sent holds NaN"):
        ErrorFeedback(ScaledSign()).see(np.float32([1, np.nan]), RowSpec(2), chance(), residual)
    assert residual.tolist() == [1, 1]


def test_bytes_and_bounds_are_those_of_what_it_wraps():
    codec, inner, spec = ErrorFeedback(TopK(0.1)), TopK(0.1), RowSpec(100)
    assert (codec.number, codec.size(spec), codec.limit(spec)) == (
        inner.number,
        inner.size(spec),
        inner.limit(spec),
    )
    assert codec.contraction(spec) == 0.1
    assert codec.encode(normal(100), spec, chance()) == inner.encode(normal(100), spec, chance())


def test_what_cannot_be_is_refused():
    with pytest.raises(BadInput, match="keeps a residual already"):
        ErrorFeedback(ErrorFeedback(ScaledSign()))
    with pytest.raises(ValueError, match="needs the residual"):
        ErrorFeedback(ScaledSign()).see(normal(3), RowSpec(3), chance())
