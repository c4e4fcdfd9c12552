"""Top-k: which values, in which bytes."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.codecs.codec import BadPayload, RowSpec
from edgekit.codecs.top_k import TopK
from edgekit.errors import BadInput
from tests.codecs.rows import chance, loss, normal, through


@pytest.mark.parametrize(
    ("ratio", "size", "count"),
    [(0.01, 1, 1), (0.01, 100, 1), (0.01, 101, 2), (0.07, 100, 7), (1, 9, 9), (0.5, 0, 0)],
)
def test_exactly_k_values_are_sent(ratio: float, size: int, count: int):
    spec = RowSpec(size)
    assert TopK(ratio).size(spec) == 6 * count == len(TopK(ratio).encode(normal(size), spec, chance()))
    assert np.count_nonzero(through(TopK(ratio), normal(size))) == count


@pytest.mark.parametrize(("size", "index"), [(65_536, 2), (65_537, 4)])
def test_the_indices_are_as_narrow_as_the_row_allows(size: int, index: int):
    row = np.zeros(size, np.float32)
    row[-1] = -2
    codec, spec = TopK(1e-6), RowSpec(size)
    payload = codec.encode(row, spec, chance())
    assert payload == (size - 1).to_bytes(index, "little") + np.float32(-2).tobytes()
    assert codec.decode(payload, spec).tobytes() == row.tobytes()
    assert codec.size(RowSpec(size, "float64")) == index + 8


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_are_kept_as_they_are(dtype: str):
    row = normal(1000, dtype)
    seen = through(TopK(0.1), row)
    kept = np.sort(np.argsort(-np.abs(row), kind="stable")[:100])
    assert np.flatnonzero(seen).tolist() == kept.tolist()
    assert seen[kept].tobytes() == row[kept].tobytes()


def test_of_equals_the_first_are_taken():
    row = chance().integers(-3, 4, 1000).astype(np.float32)
    kept = np.sort(np.argsort(-np.abs(row), kind="stable")[:100])
    assert np.flatnonzero(through(TopK(0.1), row)).tolist() == kept.tolist()
    assert np.flatnonzero(through(TopK(0.3), np.float32([1, -2, 2, 1, 2, 1, 1]))).tolist() == [1, 2, 4]


def test_each_layer_keeps_its_own():
    row = np.concatenate([normal(100), 1e-3 * normal(300)])
    spec = RowSpec(400, layers=((0, 100), (100, 100), (100, 400)))
    seen = through(TopK(0.1, per_layer=True), row, spec)
    assert [np.count_nonzero(seen[:100]), np.count_nonzero(seen[100:])] == [10, 30]
    assert np.count_nonzero(through(TopK(0.1), row, spec)[100:]) == 0


@pytest.mark.parametrize("ratio", [0.01, 0.1, 1.0])
def test_the_contraction_is_k_of_d_and_reached_by_equal_values(ratio: float):
    delta = TopK(ratio).contraction(RowSpec(1000))
    assert delta == ratio
    assert loss(
        np.full(1000, 3, np.float32), through(TopK(ratio), np.full(1000, 3, np.float32))
    ) == pytest.approx(1 - delta)
    assert loss(normal(1000), through(TopK(ratio), normal(1000))) <= 1 - delta


def test_the_contraction_per_layer_is_that_of_the_worst():
    spec = RowSpec(1010, layers=((0, 10), (10, 1010)))
    assert TopK(0.011, per_layer=True).contraction(spec) == 0.011
    assert TopK(0.011).contraction(spec) == 12 / 1010
    assert TopK().contraction(RowSpec(0)) == 1


@pytest.mark.parametrize(("ratio", "error"), [(0.1, 0.560), (0.01, 0.916)])
def test_the_error_on_gaussian_values(ratio: float, error: float):
    assert loss(normal(200_000), through(TopK(ratio), normal(200_000))) == pytest.approx(error, abs=2e-3)


@pytest.mark.parametrize("indices", [(3, 3), (4, 3), (3, 10), (0, 65535)])
def test_indices_that_no_agent_sends_are_refused(indices: tuple[int, int]):
    payload = np.array(indices, "<u2").tobytes() + np.float32([1, 2]).tobytes()
    with pytest.raises(BadPayload, match="top-k: the indices do not ascend within a row of 10 values"):
        TopK(0.2).decode(payload, RowSpec(10))


def test_values_that_are_not_finite_are_refused():
    payload = np.array([3], "<u2").tobytes() + np.float32([np.inf]).tobytes()
    with pytest.raises(BadPayload, match="top-k: a payload holds NaN"):
        TopK(0.1).decode(payload, RowSpec(10))


@pytest.mark.parametrize("ratio", [0, -0.1, 1.1, float("nan")])
def test_a_ratio_that_cannot_be_is_refused(ratio: float):
    with pytest.raises(BadInput, match=r"top-k: ratio is .*above 0, at most 1"):
        TopK(ratio)
