"""The denormal guard's arithmetic, and the table of operators."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.profile.denormals import check_times, check_values, denormal_share, unsettled_batchnorm
from edgekit.profile.operators import by_layer, operator_times


def test_share_counts_denormals_of_the_tensors_own_type():
    values = np.array([0.0, 1.0, 1e-39, -1e-40], np.float32)
    assert denormal_share(values) == 0.5
    assert denormal_share(values.astype(np.float64)) == 0.0
    assert denormal_share(np.array([1e-5, 1.0], np.float16)) == 0.5
    assert denormal_share(np.array([1, 2])) == 0.0
    assert denormal_share(np.zeros(0, np.float32)) == 0.0


def test_check_values_names_the_tensor():
    found = check_values({"good": np.ones(100, np.float32), "bad": np.full(100, 1e-40, np.float32)})
    assert [finding.node for finding in found] == ["bad"]
    assert "100 %" in found[0].what


def test_check_times_has_its_threshold():
    assert check_times(1.24e-3, 1e-3) == []
    assert "2.7 times" in check_times(6.3e-3, 2.3e-3)[0].what


@pytest.mark.parametrize("settled", [True, False])
def test_unsettled_batchnorm(settled):
    onnx = pytest.importorskip("onnx")

    def constant(name, value):
        return onnx.numpy_helper.from_array(np.full(4, value, np.float32), name)

    node = onnx.helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], name="layer.bn")
    graph = onnx.helper.make_graph(
        [node],
        "net",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 4])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 4])],
        [constant("s", 1), constant("b", 0), constant("m", 0.3 if settled else 0), constant("v", 1)],
    )
    found = unsettled_batchnorm(onnx.helper.make_model(graph))
    assert [finding.node for finding in found] == ([] if settled else ["layer.bn"])


def test_layers_sum_their_operators():
    rows = operator_times([("a", "stem", "Conv", 30.0), ("b", "stem", "Relu", 10.0), ("c", "", "Gemm", 60.0)])
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    layers = by_layer(rows)
    assert [(row.layer, row.operator, row.microseconds) for row in layers] == [
        ("c", "Gemm", 60.0),
        ("stem", "Conv+Relu", 40.0),
    ]
