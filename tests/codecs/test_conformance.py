"""Every built-in codec passes the kit; broken ones do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from edgekit.codecs import uint8
from edgekit.codecs.codec import BadPayload, Codec, RowSpec, check_decoded, check_finite, check_length
from edgekit.codecs.error_feedback import ErrorFeedback
from edgekit.codecs.natural import Natural
from edgekit.codecs.raw import Raw
from edgekit.codecs.scaled_sign import ScaledSign
from edgekit.codecs.top_k import TopK
from edgekit.codecs.uint8 import UInt8
from edgekit.registry import codecs
from edgekit.testing import check_codec

BUILT_IN = [codecs.get(name)() for name in sorted(codecs._builtin) if name != "error-feedback"]
VARIANTS = [UInt8(stochastic=False), TopK(0.1, per_layer=True), TopK(1.0)]
WRAPPED = [ErrorFeedback(codec) for codec in [*BUILT_IN, *VARIANTS] if not codec.unbiased]


def failed(codec) -> dict[str, str]:
    return {row.check: row.detail for row in check_codec(codec) if not row.ok}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("codec", [*BUILT_IN, *VARIANTS, *WRAPPED], ids=str)
def test_a_built_in_codec_holds(codec):
    assert failed(codec) == {}


def test_numbers_of_built_in_codecs_are_their_own():
    numbers = [codec.number for codec in BUILT_IN]
    assert len(set(numbers)) == len(numbers)


@dataclass(frozen=True)
class Sound(Codec):
    """Every value as a float32."""

    name: ClassVar[str] = "sound"
    number: ClassVar[int] = 200
    source: ClassVar[str] = "own"

    def encode(self, row, spec, random):
        check_finite(self.name, row)
        return np.clip(row, -3e38, 3e38).astype("<f4").tobytes()

    def decode(self, payload, spec):
        check_length(self.name, payload, self.size(spec))
        return check_decoded(self.name, np.frombuffer(payload, "<f4")).astype(spec.dtype)

    def size(self, spec):
        return 4 * spec.size


def test_a_codec_of_a_few_lines_holds():
    assert failed(Sound()) == {}


class Nameless(Sound):
    """Says neither what it is, nor whose."""

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""


class Squatter(Sound):
    """Has the number of raw."""

    number: ClassVar[int] = 1


class Boastful(Sound):
    """Keeps no bit of a float64, and says that it does."""

    lossless: ClassVar[bool] = True


class Trusting(Sound):
    """Believes the length of what arrives."""

    def decode(self, payload, spec):
        return check_decoded(self.name, np.frombuffer(payload, "<f4")).astype(spec.dtype)


class Reckless(Sound):
    """Reads NaN."""

    def decode(self, payload, spec):
        check_length(self.name, payload, self.size(spec))
        with np.errstate(invalid="ignore"):
            return np.frombuffer(payload, "<f4").astype(spec.dtype)


class Swallows(Sound):
    """Sends 0 for NaN."""

    def encode(self, row, spec, random):
        return np.clip(np.nan_to_num(row), -3e38, 3e38).astype("<f4").tobytes()


class Scribbles(Sound):
    """Changes the row that it is given."""

    def encode(self, row, spec, random):
        check_finite(self.name, row)
        np.clip(row, -3e38, 3e38, out=row)
        return row.astype("<f4").tobytes()


class Understates(Sound):
    """Sends a byte more than it says."""

    def encode(self, row, spec, random):
        return super().encode(row, spec, random) + b"\0"

    def decode(self, payload, spec):
        return super().decode(payload[:-1], spec)


class Narrow(Sound):
    """Gives float32 for float64."""

    def decode(self, payload, spec):
        return super().decode(payload, spec).astype(np.float32)


class Rolls(Sound):
    """Takes numbers from nowhere."""

    def encode(self, row, spec, random):
        return super().encode(row * np.random.default_rng().uniform(0.5, 1), spec, random)


class Nearly(Sound):
    """Shows the simulator more than it sends."""

    def project(self, row, spec, random):
        check_finite(self.name, row)
        return row.copy()


class Shrinks(Natural):
    """Rounds down, and says that it has no bias."""

    number: ClassVar[int] = 201
    name: ClassVar[str] = "shrinks"

    def _rounded(self, row, random):
        check_finite(self.name, row)
        return np.clip(row, -1e38, 1e38).astype(np.float32).view(np.uint32) & np.uint32(0xFF800000)


class Tight(Natural):
    """Says that it loses less than it does."""

    number: ClassVar[int] = 202
    name: ClassVar[str] = "tight"

    def variance(self, spec):
        return 0.11


class Greedy(TopK):
    """Says that it contracts more than it does."""

    number: ClassVar[int] = 203
    name: ClassVar[str] = "greedy"

    def contraction(self, spec):
        return min(1.0, 1.05 * super().contraction(spec))


class Leaks(ErrorFeedback):
    """Keeps nine tenths of what is lost."""

    def see(self, row, spec, random, residual=None):
        seen = super().see(row, spec, random, residual)
        residual *= 0.9
        return seen

    def transmit(self, row, spec, random, residual=None):
        payload, seen = super().transmit(row, spec, random, residual)
        residual *= 0.9
        return payload, seen


def as_codec(kind: type, *fields) -> Codec:
    return dataclass(frozen=True)(type(kind.__name__, (kind,), {"__doc__": kind.__doc__}))(*fields)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Nameless, "has a name"),
        (Squatter, "has a number"),
        (Boastful, "loses nothing"),
        (Trusting, "malformed"),
        (Reckless, "malformed"),
        (Swallows, "NaN and infinite"),
        (Scribbles, "rows arrive whole"),
        (Understates, "payloads are as long"),
        (Narrow, "rows arrive whole"),
        (Rolls, "the same seed"),
        (Nearly, "what is seen without bytes"),
        (Shrinks, "is unbiased"),
        (Tight, "is unbiased"),
        (Greedy, "contracts"),
    ],
)
def test_what_is_broken_is_found(broken, check: str):
    found = failed(as_codec(broken))
    assert any(name.startswith(check) for name in found), found


def test_a_residual_that_leaks_is_found():
    assert list(failed(as_codec(Leaks, ScaledSign()))) == ["what was seen and the residual add up"]


def test_a_class_that_is_not_frozen_is_found():
    class Thawed(Raw):
        """Its settings may change."""

    Thawed.__dataclass_params__ = dataclass(type("Plain", (), {})).__dataclass_params__
    assert "is a frozen dataclass" in failed(Thawed())


def test_levels_between_floating_point_numbers_are_found(monkeypatch):
    """The usual min-max quantizer, whose levels the receiver rounds: biased where a step is about a spacing."""

    def plain(row: np.ndarray, spec: RowSpec) -> np.ndarray:
        ends = [(row[a:b].min(), row[a:b].max()) if a < b else (0, 0) for a, b in spec.bounds]
        low, high = np.array(ends, np.float64).clip(-8e37, 8e37).T
        return np.stack([low, (high - low) / 255]).astype(spec.dtype)

    monkeypatch.setattr(uint8, "_grid", plain)
    assert (
        "range of a few hundred spacings, float32"
        in failed(UInt8())["is unbiased where it says so, within its variance"]
    )


def test_the_bytes_of_another_codec_are_no_crash():
    for one in BUILT_IN:
        payload = one.encode(np.ones(64, np.float32), RowSpec(64), np.random.default_rng(0))
        for two in BUILT_IN:
            if two.size(RowSpec(64)) != len(payload):
                with pytest.raises(BadPayload):
                    two.decode(payload, RowSpec(64))
