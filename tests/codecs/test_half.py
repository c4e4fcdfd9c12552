"""Half precision: the nearest of 16 bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.codecs.codec import BadPayload, RowSpec
from edgekit.codecs.half import Bf16, Fp16
from tests.codecs.rows import chance, loss, normal, through


def f32(bits) -> np.ndarray:
    return np.asarray(bits, np.uint32).view(np.float32)


@pytest.mark.parametrize("codec", [Fp16(), Bf16()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_bytes_a_value(codec, dtype: str):
    assert (
        len(codec.encode(normal(7, dtype), RowSpec(7, dtype), chance()))
        == 14
        == codec.size(RowSpec(7, dtype))
    )


@pytest.mark.parametrize(("codec", "kind"), [(Fp16(), torch.float16), (Bf16(), torch.bfloat16)])
def test_the_rounding_is_that_of_torch(codec, kind):
    bits = chance().integers(0, 1 << 32, 200_000, np.uint64).astype(np.uint32)
    row = f32(bits)
    row = row[np.isfinite(row) & (np.abs(row) < 65504)]
    row = np.concatenate([row, normal(50_000), 1e-6 * normal(50_000)])
    expected = torch.from_numpy(row).to(kind).to(torch.float32).numpy()
    assert through(codec, row).tobytes() == expected.tobytes()


@pytest.mark.parametrize(("codec", "digits"), [(Fp16(), 11), (Bf16(), 8)])
def test_the_relative_error(codec, digits: int):
    row = np.concatenate([normal(20_000), np.linspace(1, 2, 20_001, dtype=np.float32)])
    row = row[np.abs(row) >= 2.0**-14]
    relative = np.abs(through(codec, row) / row.astype(np.float64) - 1).max()
    assert 0.99 * 2.0**-digits < relative <= 2.0**-digits
    if codec.contraction(RowSpec(1)):
        assert loss(row, through(codec, row)) <= 1 - codec.contraction(RowSpec(len(row)))


def test_ties_go_to_the_even_neighbour():
    assert through(Bf16(), f32([0x3F808000, 0x3F818000])).view(np.uint32).tolist() == [0x3F800000, 0x3F820000]
    assert through(Bf16(), f32([0x3F808001, 0x3F807FFF])).view(np.uint32).tolist() == [0x3F810000, 0x3F800000]
    assert through(Fp16(), np.float32([1 + 2**-11, 1 + 3 * 2**-11])).tolist() == [1, 1 + 2**-9]


@pytest.mark.parametrize(("codec", "largest"), [(Fp16(), 65504.0), (Bf16(), (2 - 2**-7) * 2.0**127)])
def test_what_is_beyond_is_sent_as_the_largest(codec, largest: float):
    top = float(np.finfo(np.float32).max)
    assert through(codec, np.float32([top, -top, largest])).tolist() == [largest, -largest, largest]
    assert through(codec, np.array([1e300, -1e300])).tolist() == [largest, -largest]


def test_small_gradients_survive_bf16_only():
    assert through(Fp16(), np.float32([2**-26])).tolist() == [0]
    assert through(Bf16(), np.float32([2**-26])).tolist() == [2**-26]
    assert Fp16().contraction(RowSpec(1)) is None


@pytest.mark.parametrize(
    ("codec", "bad"), [(Fp16(), 0x7E01), (Fp16(), 0xFC00), (Bf16(), 0x7F81), (Bf16(), 0x7F80)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinity_are_refused(codec, bad: int, dtype: str):
    with pytest.raises(BadPayload, match=f"{codec.name}: a payload holds NaN"):
        codec.decode(bad.to_bytes(2, "little"), RowSpec(1, dtype))
