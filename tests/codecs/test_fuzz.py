"""Any bytes: a finite row of the right length and dtype, or BadPayload, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.codecs.codec import BadPayload, RowSpec
from edgekit.codecs.top_k import TopK
from tests.codecs.rows import chance, through
from tests.codecs.test_conformance import BUILT_IN

CODECS = [*BUILT_IN, TopK(0.3, per_layer=True)]
WIDTHS = {"float32": 32, "float64": 64}


@st.composite
def specs(draw) -> RowSpec:
    cuts = sorted(draw(st.lists(st.integers(0, 40), min_size=1, max_size=4)))
    bounds = tuple(zip([0, *cuts[:-1]], cuts, strict=True))
    return RowSpec(cuts[-1], draw(st.sampled_from(sorted(WIDTHS))), draw(st.sampled_from([(), bounds])))


@st.composite
def payloads(draw, codec, spec: RowSpec) -> bytes:
    """Bytes of any length, or of the right one; there also a real payload, changed in a few places."""
    length = codec.size(spec)
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    if draw(st.booleans()):
        return draw(st.binary(min_size=length, max_size=length))
    row = chance(draw(st.integers(0, 99))).standard_normal(spec.size).astype(spec.dtype)
    changed = bytearray(codec.encode(row, spec, chance()))
    for _ in range(draw(st.integers(0, 3)) if changed else 0):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("codec", CODECS, ids=str)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_decode_reads_or_refuses(codec, data):
    spec = data.draw(specs())
    payload = data.draw(payloads(codec, spec))
    try:
        row = codec.decode(payload, spec)
    except BadPayload:
        return
    assert len(payload) == codec.size(spec)
    assert (row.shape, str(row.dtype)) == ((spec.size,), spec.dtype)
    assert np.isfinite(row).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("codec", CODECS, ids=str)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_finite_row_arrives_and_is_seen_alike(codec, data):
    spec = data.draw(specs())
    values = st.floats(allow_nan=False, allow_infinity=False, width=WIDTHS[spec.dtype])
    row = data.draw(arrays.arrays(spec.dtype, spec.size, elements=values))
    seen = through(codec, row, spec)
    assert np.isfinite(seen).all()
    assert codec.project(row, spec, chance()).tobytes() == seen.tobytes()
