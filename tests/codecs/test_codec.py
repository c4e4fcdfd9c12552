"""The contract: what both ends know, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.codecs.codec import BadPayload, Codec, RowSpec, check_decoded, check_finite, check_length
from edgekit.errors import BadInput
from tests.codecs.rows import chance


def test_a_row_without_layers_is_one_layer():
    assert RowSpec(5).bounds == ((0, 5),)
    assert RowSpec(5, layers=((0, 2), (2, 5))).bounds == ((0, 2), (2, 5))
    assert [RowSpec(5).longest, RowSpec(5, layers=((0, 2), (2, 5))).longest, RowSpec(0).longest] == [5, 3, 0]


def test_a_value_travels_little_endian():
    assert RowSpec(1, "float64").little.str == "<f8"
    assert [RowSpec(1).itemsize, RowSpec(1, "float64").itemsize] == [4, 8]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_neither_sent_nor_read(bad: float):
    row = np.array([1, bad, 2], np.float32)
    with pytest.raises(BadInput, match=r"^some: .*NaN or infinite values.*Lower the learning rate\.$"):
        check_finite("some", row)
    with pytest.raises(BadPayload, match=r"^some: .*no agent sends\.$"):
        check_decoded("some", row)


def test_the_largest_finite_values_pass():
    row = np.full(9, np.finfo(np.float32).max)
    check_finite("some", row)
    assert check_decoded("some", row) is row


def test_another_length_than_the_models_is_refused():
    check_length("some", b"123", 3)
    with pytest.raises(BadPayload, match="some: a payload of 2 bytes, but this run's model makes 3"):
        check_length("some", b"12", 3)


def test_a_codec_of_a_few_lines_gets_the_rest():
    class Doubled(Codec):
        def encode(self, row, spec, random):
            return (2 * row).tobytes()

        def decode(self, payload, spec):
            return np.frombuffer(payload, spec.dtype)

        def size(self, spec):
            return 4 * spec.size

    row, spec = np.arange(3, dtype=np.float32), RowSpec(3)
    payload, seen = Doubled().transmit(row, spec, chance())
    assert payload == (2 * row).tobytes()
    assert seen.tolist() == Doubled().see(row, spec, chance()).tolist() == [0, 2, 4]
    assert Doubled().limit(spec) == 12
    assert Doubled().variance(spec) is Doubled().contraction(spec) is None


def test_a_codec_without_a_size_must_have_a_limit():
    class Loose(Codec):
        name = "loose"

        def size(self, spec):
            return None

    with pytest.raises(NotImplementedError, match=r"loose: .*declares its limit"):
        Loose().limit(RowSpec(3))
