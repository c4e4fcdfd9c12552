"""Layers of nets whose work is known: MACs, bytes, shares, and times without the profiler's part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgekit.analysis.graph_cost import graph_cost
from edgekit.errors import BadInput
from edgekit.export.to_onnx import to_onnx
from edgekit.profile.ceilings import measure_ceilings
from edgekit.profile.executed import without_profiler
from edgekit.profile.layers import layer_report, report_of
from edgekit.registry import models
from edgekit.target import find_target
from tests.targets.onnx_nets import Net, residual

NETS = {
    "resnet8": ({}, (3, 32, 32)),
    "ds_cnn": ({}, (1, 49, 10)),
    "mobilenet_v1": ({"width": 0.25}, (3, 96, 96)),
}


def feeds(*shape):
    return {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}


@pytest.fixture(scope="module")
def here():
    return measure_ceilings(seconds=0.5)


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    torch.manual_seed(0)
    found = {}
    for name, (options, shape) in NETS.items():
        model = models.get(name)(**options)
        model.train()(torch.randn(8, *shape))  # one batch settles BatchNorm: no denormals
        found[name] = folder / f"{name}.onnx"
        onnx.save(to_onnx(model.eval(), {"x": torch.zeros(1, *shape)}), found[name])
    return found


def test_macs_and_bytes_of_a_convolution(tmp_path):
    """16 -> 32 channels, 3x3, on 8x8: 8 * 8 * 32 * 16 * 9 MACs; weights, bias, input and output in float32."""
    net = Net((2, 16, 8, 8))
    path = net.save(net.conv("x", "conv", 32), tmp_path / "net.onnx")
    seen = find_target("cpu").execution(path, feeds(2, 16, 8, 8), seconds=0.1)
    (node,) = [node for node in seen.nodes if node.macs]
    assert node.macs == 2 * 8 * 8 * 32 * 16 * 9
    assert node.weight_bytes == 4 * (32 * 16 * 9 + 32)
    assert seen.activation_bytes(node) == 4 * (2 * 16 * 8 * 8 + 2 * 32 * 8 * 8)
    assert node.precision == "float32"


def test_macs_and_bytes_of_a_product_in_integers(tmp_path):
    """64 -> 10 with 8-bit weights and activations: 4 bytes only for bias, scales and the result."""
    net = Net((5, 64))
    weight = net.node(
        "DequantizeLinear",
        net.constant("w", net.random.integers(-63, 64, (64, 10)).astype(np.int8)),
        net.constant("ws", np.float32(0.01)),
        net.constant("wz", np.int8(0)),
        name="w.dq",
    )
    made = net.pair(net.node("MatMul", net.pair("x", "in"), weight, name="fc"), "out")
    seen = find_target("cpu").execution(net.save(made, tmp_path / "net.onnx"), feeds(5, 64), seconds=0.1)
    (node,) = [node for node in seen.nodes if node.macs]
    assert (node.precision, node.macs) == ("int8", 5 * 64 * 10)
    assert 640 <= node.weight_bytes < 640 + 100
    assert seen.activation_bytes(node) in (5 * 64 + 5 * 10, 5 * 64 + 4 * 5 * 10)


@pytest.mark.parametrize("name", NETS)
def test_a_network_s_macs_are_those_of_its_file_though_channels_are_padded(nets, name):
    shape = NETS[name][1]
    seen = find_target("cpu").execution(nets[name], feeds(1, *shape), seconds=0.2)
    assert sum(node.macs for node in seen.nodes) == graph_cost(onnx.load(nets[name])).macs


@pytest.mark.parametrize("name", NETS)
def test_shares_sum_to_one_times_to_the_latency_and_no_ceiling_is_exceeded(nets, name, here):
    seen = layer_report(nets[name], feeds(1, *NETS[name][1]), seconds=0.8, ceilings=here)
    assert sum(layer.share for layer in seen.layers) == pytest.approx(1)
    assert sum(layer.energy_share for layer in seen.layers) == pytest.approx(1)
    assert sum(layer.microseconds for layer in seen.layers) == pytest.approx(
        seen.latency_us - here.call_us, rel=0.01
    )
    assert seen.layers[0].microseconds == max(layer.microseconds for layer in seen.layers)
    timed = [layer for layer in seen.layers if layer.microseconds > 5]  # of less the profiler says too little
    assert {layer.layer: layer.attained for layer in timed if layer.attained > 1.3} == {}
    assert seen.peak_activation_bytes == max(moment.live_bytes for moment in seen.memory)


def test_a_large_layer_among_small_ones_has_the_share_that_it_has_alone(tmp_path):
    """The profiler adds more to each of 60 tiny nodes than they take; the convolution's share must not shrink."""
    large, both = Net((1, 64, 28, 28)), Net((1, 64, 28, 28))
    alone = large.save(large.conv("x", "conv", 64, inputs=64), tmp_path / "alone.onnx")
    stream = both.node("GlobalAveragePool", both.conv("x", "conv", 64, inputs=64), name="pool")
    for index in range(60):
        kind = ("Add", "Mul")[index % 2]
        stream = both.node(
            kind,
            stream,
            both.constant(f"c{index}", np.full((64, 1, 1), 0.9, np.float32)),
            name=f"tiny{index}",
        )
    target, x = find_target("cpu"), feeds(1, 64, 28, 28)
    ceilings = measure_ceilings(seconds=0.1)
    seen = target.execution(both.save(stream, tmp_path / "both.onnx"), x, seconds=0.6)
    found = {layer.layer: layer.microseconds for layer in report_of(seen, ceilings).layers}
    raw = sum(node.microseconds for node in seen.nodes)
    truth = target.execution(alone, x, seconds=0.6).latency_us - ceilings.call_us
    assert raw > seen.latency_us  # what the correction is for
    assert found["conv"] == pytest.approx(truth, rel=0.25)
    assert sum(found.values()) == pytest.approx(seen.latency_us - ceilings.call_us, rel=0.01)


@pytest.mark.parametrize(
    ("times", "total", "least", "answer", "taken"),
    [
        ([10.0, 6.0, 5.0], 15.0, 0.0, (8.0, 4.0, 3.0), 2.0),
        ([10.0, 3.0, 2.0], 7.0, 0.5, (6.0, 0.5, 0.5), 4.0),  # the small ones stop at their floor
        ([10.0, 0.2], 5.0, 0.5, (4.8, 0.2), 5.2),  # a floor above a time is the time
        ([1.0, 2.0], 5.0, 0.5, (1.0, 2.0), 0.0),  # nothing to take off
        ([3.0, 2.0], 0.1, 0.5, (0.5, 0.5), 2.5),  # less than all floors
        ([], 3.0, 0.5, (), 0.0),
    ],
)
def test_the_profiler_s_part_is_the_same_for_each_node(times, total, least, answer, taken):
    seen = without_profiler(times, total, least=least)
    assert seen.microseconds == pytest.approx(answer)
    assert seen.profiler_us == pytest.approx(taken)


def test_any_times_come_out_at_the_total():
    chance = np.random.default_rng(1)
    for _ in range(200):
        times = chance.exponential(5, chance.integers(1, 30)).tolist()
        least = float(chance.uniform(0, 1))
        floors = sum(min(time, least) for time in times)
        total = float(chance.uniform(floors, sum(times)))
        assert sum(without_profiler(times, total, least=least).microseconds) == pytest.approx(total)


def test_the_json_is_whole(tmp_path, here):
    onnx.save(residual(), tmp_path / "net.onnx")
    seen = layer_report(tmp_path / "net.onnx", feeds(1, 16, 8, 8), seconds=0.2, ceilings=here).to_json()
    assert json.loads(json.dumps(seen, allow_nan=False))["peak_node"] == seen["peak_node"]
    assert set(seen["layers"][0]) >= {
        "layer",
        "operators",
        "microseconds",
        "share",
        "macs",
        "bytes",
        "intensity",
        "bound",
        "attained",
        "energy_share",
    }
    assert set(seen["memory"][0]) == {"node", "layer", "live_bytes"}
    assert seen["energy_basis"].startswith("by time")
    assert all(name in seen["not_measured"] for name, value in seen.items() if value is None)


@pytest.mark.parametrize("target", ["jetson", "fpga"])
def test_a_file_for_another_machine_is_not_measured_with_reasons(target):
    seen = layer_report(Path("model.onnx"), {}, target=target).to_json()
    assert seen["layers"] == seen["memory"] == []
    assert {name for name, value in seen.items() if value is None or value == []} == set(seen["not_measured"])
    assert all(target in reason for reason in seen["not_measured"].values())


def test_bad_input_is_one_line(tmp_path, nets):
    with pytest.raises(BadInput, match="no such file"):
        layer_report(tmp_path / "absent.onnx", feeds(1, 3))
    with pytest.raises(BadInput, match="does not fit"):
        layer_report(nets["resnet8"], feeds(1, 3, 8))
