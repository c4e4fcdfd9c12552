"""Raw: the values themselves."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from edgekit.codecs.codec import BadPayload, RowSpec
from edgekit.codecs.raw import Raw
from tests.codecs.rows import chance, normal, through


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_bit_comes_back(dtype: str):
    row = normal(99, dtype)
    assert through(Raw(), row).tobytes() == row.tobytes()
    assert len(Raw().encode(row, RowSpec(99, dtype), chance())) == Raw().size(RowSpec(99, dtype))


def test_the_bytes_are_little_endian():
    assert Raw().encode(np.array([1.5, -2.0], np.float32), RowSpec(2), chance()) == struct.pack(
        "<2f", 1.5, -2
    )


def test_what_is_decoded_can_be_written_to():
    seen = through(Raw(), normal(3))
    seen += 1


def test_nan_of_another_agent_is_refused():
    with pytest.raises(BadPayload, match="raw: a payload holds NaN"):
        Raw().decode(struct.pack("<2f", 1, float("nan")), RowSpec(2))


@pytest.mark.parametrize("before", [0, 1, 2, 4])
def test_a_row_is_read_in_place_only_where_its_values_are_aligned(before: int):
    """A frame begins where its topic ends; unaligned values are slow, and not allowed on every machine."""
    row = normal(99)
    received = bytearray(before) + row.tobytes()
    seen = Raw().decode(memoryview(received)[before:], RowSpec(99))
    assert seen.flags.behaved
    assert seen.tobytes() == row.tobytes()
    assert np.shares_memory(seen, np.frombuffer(received, np.uint8)) == (before % 4 == 0)
