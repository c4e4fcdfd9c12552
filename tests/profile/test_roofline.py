"""The bound of layers made so that the answer is known, on paper and in onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.profile.ceilings import Ceilings, measure_ceilings
from edgekit.profile.executed import ExecutedNode, Execution
from edgekit.profile.layers import report_of
from edgekit.profile.roofline import Roof, bound, roof_of, together
from edgekit.target import find_target
from tests.targets.onnx_nets import Net

PAPER = Ceilings(
    multiply_adds_per_second={"float32": 1e9, "int8": 4e9},
    bytes_per_second=1e8,
    cache_bytes_per_second=1e9,
    last_level_cache_bytes=1000,
    overhead_us=0.5,
    call_us=2.0,
    threads=1,
)


def one(macs=0, weights=0, reads=0, writes=0, precision="float32", **kind):
    node = ExecutedNode("n", "Op", "n", 1.0, ("a",), ("b",), macs, weights, precision, **kind)
    return node, Execution((node,), {"a": reads, "b": writes}, ("a",), ("b",), latency_us=1.0)


def test_arithmetic_by_precision():
    assert roof_of(*one(macs=2000), PAPER).compute_us == pytest.approx(2.0)
    assert roof_of(*one(macs=2000, precision="int8"), PAPER).compute_us == pytest.approx(0.5)
    assert roof_of(*one(macs=2000, precision="float64"), PAPER).compute_us == pytest.approx(2.0)


def test_traffic_by_where_it_fits():
    assert roof_of(*one(reads=300, writes=100), PAPER).memory_us == pytest.approx(0.4)
    assert roof_of(*one(reads=3000, writes=1000), PAPER).memory_us == pytest.approx(40.0)
    # 900 bytes of weights do not stay beside 400 of activations, which do fit by themselves
    assert roof_of(*one(weights=900, reads=300, writes=100), PAPER).memory_us == pytest.approx(9.0 + 0.4)


def test_a_view_moves_nothing_and_a_gather_what_it_writes():
    assert roof_of(*one(reads=400, writes=400, view=True), PAPER).memory_us == 0
    assert roof_of(*one(reads=800, writes=100, selects=True), PAPER).memory_us == pytest.approx(0.2)


def test_the_roof_of_several_nodes_is_theirs_one_after_the_other():
    both = together([Roof(4.0, 1.0, 4.0, 1), Roof(1.0, 3.0, 3.0, 1)])
    assert both == Roof(5.0, 4.0, 7.0, 2)


@pytest.mark.parametrize(
    ("roof", "microseconds", "answer"),
    [
        (Roof(8.0, 1.0, 8.0, 1), 10.0, "compute"),
        (Roof(1.0, 8.0, 8.0, 1), 10.0, "memory"),
        (Roof(0.1, 0.2, 0.2, 1), 0.6, "overhead"),  # less than a dispatch
        (Roof(1.0, 0.2, 1.0, 1), 4.9, "overhead"),  # below a quarter, within ten dispatches
        (Roof(1.0, 0.2, 1.0, 1), 5.1, "kernel"),  # below a quarter, beyond them
        (Roof(1.0, 0.2, 1.0, 1), 4.0, "compute"),  # a quarter is enough
        (Roof(1.0, 0.2, 1.0, 20), 4.0, "overhead"),  # twenty nodes for what one could do
    ],
)
def test_the_rule(roof, microseconds, answer):
    assert bound(roof, microseconds, overhead_us=0.5) == answer


@pytest.fixture(scope="module")
def here():
    pytest.importorskip("onnxruntime")
    return measure_ceilings(seconds=0.3)


def bounds(path, shape, ceilings):
    feeds = {"x": np.random.default_rng(0).uniform(0.5, 1, shape).astype(np.float32)}
    seen = find_target("cpu").execution(path, feeds, seconds=0.4)
    return {layer.layer: layer for layer in report_of(seen, ceilings).layers}


def test_a_wide_pointwise_convolution_is_bound_by_arithmetic(tmp_path, here):
    net = Net((1, 512, 14, 14))
    path = net.save(net.conv("x", "wide", 512, inputs=512, kernel=1), tmp_path / "net.onnx")
    layer = bounds(path, (1, 512, 14, 14), here)["wide"]
    assert layer.bound == "compute"
    assert layer.attained <= 1.3


def test_an_addition_over_a_large_tensor_is_bound_by_memory(tmp_path, here):
    shape = (1, 16, 512, 1024)  # 32 MiB, read once for both operands, and written
    net = Net(shape)
    path = net.save(net.node("Add", "x", "x", name="large"), tmp_path / "net.onnx")
    layer = bounds(path, shape, here)["large"]
    assert (layer.bound, layer.macs, layer.bytes) == ("memory", 0, 2 * 2**25)


def test_a_tiny_addition_is_bound_by_its_dispatch(tmp_path, here):
    net = Net((1, 8))
    path = net.save(
        net.node("Add", "x", net.constant("one", np.ones(8, np.float32)), name="tiny"), tmp_path / "n.onnx"
    )
    assert bounds(path, (1, 8), here)["tiny"].bound == "overhead"
