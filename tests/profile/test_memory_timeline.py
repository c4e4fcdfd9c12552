"""Live bytes of graphs whose lifetimes are known by hand, and of the files that onnxruntime runs."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.profile.executed import ExecutedNode, Execution
from edgekit.profile.memory_timeline import memory_timeline, peak
from edgekit.target import find_target
from tests.targets.onnx_nets import Net


def execution(nodes, sizes, outputs, inputs=("x",)):
    made = tuple(
        ExecutedNode(name, "View" if view else "Op", name, 1.0, reads, writes, view=view)
        for name, reads, writes, view in nodes
    )
    return Execution(made, sizes, inputs, outputs, latency_us=1.0)


def live(made):
    return [moment.live_bytes for moment in memory_timeline(made)]


def test_a_residual_chain():
    nodes = [
        ("stem", ("x",), ("a",), False),
        ("conv1", ("a",), ("b",), False),
        ("conv2", ("b",), ("c",), False),
        ("add", ("c", "a"), ("d",), False),  # a has lived since the stem
        ("head", ("d",), ("y",), False),
    ]
    made = execution(nodes, {"x": 1, "a": 10, "b": 100, "c": 1000, "d": 10_000, "y": 100_000}, ("y",))
    assert live(made) == [11, 110, 1110, 11_010, 110_000]
    assert peak(memory_timeline(made)).node == "head"


def test_views_share_and_an_output_made_early_stays():
    nodes = [
        ("a", ("x",), ("early",), False),
        ("b", ("x",), ("c",), False),
        ("flat", ("c",), ("v",), True),
        ("d", ("v",), ("y",), False),
    ]
    made = execution(nodes, {"x": 1, "early": 10, "c": 100, "v": 100, "y": 1000}, ("early", "y"))
    assert live(made) == [11, 111, 110, 1110]


def test_a_result_that_nobody_reads_lives_for_its_node_alone():
    nodes = [("a", ("x",), ("b", "unused"), False), ("c", ("b",), ("y",), False)]
    assert live(execution(nodes, {"x": 1, "b": 10, "unused": 100, "y": 1000}, ("y",))) == [111, 1010]


def test_nothing_has_no_peak():
    assert peak(memory_timeline(execution([], {}, ()))) is None


@pytest.mark.parametrize("batch", [1, 3])
def test_a_chain_in_onnxruntime_holds_what_the_lifetimes_say(tmp_path, batch):
    """Every tensor has the size of 16 KiB a sample; a chain of convolutions has two alive, its allocator says so."""
    net = Net(("N", 16, 16, 16))
    stream = "x"
    for index in range(4):
        stream = net.conv(stream, f"conv{index}")
    feeds = {"x": np.random.default_rng(0).standard_normal((batch, 16, 16, 16)).astype(np.float32)}
    seen = find_target("cpu").execution(net.save(stream, tmp_path / "net.onnx"), feeds, seconds=0.1)
    kib = 16 * batch * 1024
    assert {seen.sizes[node.writes[0]] for node in seen.nodes} == {kib}
    assert peak(memory_timeline(seen)).live_bytes == 2 * kib
    if seen.arena_bytes is not None:
        assert 0 < seen.arena_bytes <= 2 * kib
