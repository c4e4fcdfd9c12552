"""Random words and packed flags."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.codecs.bits import pack, unpack, words
from edgekit.codecs.codec import BadPayload
from tests.codecs.rows import chance


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1001])
def test_words_are_as_many_as_asked(dtype: str, count: int):
    drawn = words(chance(), count, dtype)
    assert (len(drawn), drawn.dtype.str) == (count, dtype)


def test_words_are_the_halves_of_the_draws_lowest_first():
    whole = chance().integers(0, 1 << 64, 2, np.uint64)
    assert words(chance(), 3, "<u4").tolist() == [
        int(whole[0]) & 0xFFFFFFFF,
        int(whole[0]) >> 32,
        int(whole[1]) & 0xFFFFFFFF,
    ]


def test_words_are_uniform():
    drawn = words(chance(), 1 << 16, "<u2")
    counts = np.bincount(drawn >> 8, minlength=256)
    assert ((counts - 256) ** 2 / 256).sum() < 255 + 4 * np.sqrt(
        2 * 255
    )  # chi squared, 255 degrees of freedom


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_flags_come_back(count: int):
    flags = chance().random(count) < 0.5
    packed = pack(flags)
    assert len(packed) == (count + 7) // 8
    assert unpack("some", packed, count).astype(bool).tolist() == flags.tolist()


def test_the_fill_must_be_zero():
    assert unpack("some", b"\x80", 1).tolist() == [1]
    with pytest.raises(BadPayload, match="some: bits are set behind the last of 1 values"):
        unpack("some", b"\xc0", 1)
