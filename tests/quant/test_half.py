"""fp16 files: half the bytes, near the float outputs, float32 at the edges, no weight lost."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from test_placement import model
from whole_way import normal, run

from edgekit.quant.half import to_fp16

ROWS = [
    ("Conv", ["x", "w64x3x3x3", "bias"], "a"),
    ("Relu", ["a"], "b"),
    ("Conv", ["b", "w64x64x3x3"], "c"),
    ("Relu", ["c"], "d"),
    ("GlobalAveragePool", ["d"], "e"),
    ("Flatten", ["e"], "f"),
    ("Gemm", ["f", "w10x64"], "y", {"transB": 1}),
]
FEEDS = normal({"x": (3, 12, 12)})


def made(rows=ROWS, **constants) -> onnx.ModelProto:
    return model(rows, ["y"], (3, 12, 12), bias=np.linspace(-1, 1, 64, dtype=np.float32), **constants)


def test_half_the_bytes_near_the_float_outputs_and_float32_at_the_edges():
    real = made()
    before = real.SerializeToString(deterministic=True)
    half = to_fp16(real)
    assert real.SerializeToString(deterministic=True) == before
    assert half.ByteSize() < 0.55 * real.ByteSize()
    assert {item.data_type for item in half.graph.initializer if len(item.dims) > 0} == {TensorProto.FLOAT16}
    for one, two in zip(
        (*real.graph.input, *real.graph.output), (*half.graph.input, *half.graph.output), strict=True
    ):
        assert two.name == one.name
        assert two.type.tensor_type.elem_type == TensorProto.FLOAT
    expected = run(real, FEEDS)
    error = np.abs(run(half, FEEDS) - expected).max()
    assert 0 < error < 0.005 * np.abs(expected).max()


@pytest.mark.filterwarnings("ignore:.*(smaller than|truncated|float16).*")
def test_tiny_and_huge_weights_are_kept_at_the_limits_of_half():
    weights = np.zeros((64, 3, 1, 1), np.float32)
    weights[0], weights[1], weights[2], weights[3] = 1e-9, -1e-9, 1e9, 0.1
    half = to_fp16(made([("Conv", ["x", "weight"], "y")], weight=weights))
    found = next(numpy_helper.to_array(item) for item in half.graph.initializer if item.name == "weight")[
        :, 0, 0, 0
    ]
    assert found[0] > 0 > found[1]
    assert abs(found[0]) < 1e-6
    assert np.isfinite(found).all()
    assert found[3] == np.float16(0.1)
    assert found[4] == 0


@pytest.mark.parametrize(
    "rows",
    [
        [("Conv", ["x", "w64x3x1x1"], "a"), ("Resize", ["a", "", "sizes"], "y", {"mode": "nearest"})],
        [("Conv", ["x", "w64x3x1x1"], "a"), ("Clip", ["a", "zero", "six"], "y")],
        [
            ("Conv", ["x", "w64x3x1x1"], "a"),
            ("Cast", ["a"], "b", {"to": TensorProto.FLOAT}),
            ("Sigmoid", ["b"], "y"),
        ],
    ],
)
def test_operators_with_float_operands_of_their_own_run(rows):
    real = made(rows, sizes=np.float32([1, 1, 2, 2]), zero=np.float32(0), six=np.float32(6))
    assert np.allclose(run(to_fp16(real), FEEDS), run(real, FEEDS), atol=0.02)
