"""Running, timing, memory and guards on real files, and errors in one line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx_nets import Net, residual
from quantized_nets import quantized

from edgekit.errors import BadInput
from edgekit.profile import interleave, measure, profile, ratio
from edgekit.profile.fresh import fresh
from targets.cpu import CpuTarget
from targets.cpu.guard import guard, intermediate
from targets.cpu.runtime import OrtRunner


@pytest.fixture
def path(tmp_path):
    onnx.save(residual(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.fixture
def feeds():
    return {"x": np.random.default_rng(0).normal(size=(1, 16, 8, 8)).astype(np.float32)}


def test_runs_as_onnx_defines(path, feeds):
    from onnx.reference import ReferenceEvaluator

    expected = ReferenceEvaluator(str(path)).run(None, feeds)[0]
    found = OrtRunner(path).run(feeds)
    assert list(found) == ["head_out"]
    np.testing.assert_allclose(found["head_out"], expected, rtol=1e-4, atol=1e-5)


def test_signature(path):
    signature = OrtRunner(path).signature
    assert [(spec.name, spec.dtype, spec.shape) for spec in signature.inputs] == [
        ("x", "float32", (1, 16, 8, 8))
    ]
    free = Net(("N", 4))
    found = OrtRunner(free.save(free.gemm("x", "head", 3, 4), path.with_name("free.onnx"))).signature
    assert found.inputs[0].shape == ("N", 4)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"x": np.zeros((1, 16, 8, 7), np.float32)}, r"input 'x': the shape \[1, 16, 8, 7\]"),
        ({"x": np.zeros((1, 16, 8, 8))}, "dtype float64 is not float32"),
        ({}, "'x' .* is missing"),
        ({"y": np.zeros((1, 16, 8, 8), np.float32)}, "'y' is no input"),
    ],
)
def test_wrong_feeds_are_one_line(path, change, match):
    with pytest.raises(BadInput, match=match) as error:
        OrtRunner(path).run(change)
    assert "\n" not in str(error.value)


def test_absent_cut_off_and_unknown_are_one_line(path, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:200])
    net = Net()
    net.save(net.node("Frobnicate", "x", name="odd"), tmp_path / "odd.onnx")
    for name, match in (
        ("absent", "no such file"),
        ("cut", "not an ONNX file"),
        ("odd", "does not know the operator Frobnicate"),
    ):
        with pytest.raises(BadInput, match=match) as error:
            OrtRunner(tmp_path / f"{name}.onnx")
        assert "\n" not in str(error.value)


def test_operator_without_a_kernel_names_its_node(tmp_path):
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="bad")],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.DOUBLE, [1, 1, 4, 4]),
            helper.make_tensor_value_info("w", TensorProto.DOUBLE, [1, 1, 3, 3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10),
        tmp_path / "double.onnx",
    )
    with pytest.raises(BadInput, match=r"no CPU kernel for Conv.* at node 'bad'"):
        OrtRunner(tmp_path / "double.onnx")


def test_prepared_calls_give_the_same_and_are_timed(path, feeds):
    runner = OrtRunner(path)
    found = measure(runner, feeds, seconds=0.05, warmup=0.01)
    assert 0 < found.min <= found.p50 <= found.p90 <= found.p99
    assert found.n >= 30
    with pytest.raises(BadInput, match="missing"):
        runner.prepare({})


def test_twice_the_work_takes_about_twice_as_long(feeds, tmp_path):
    runs = {}
    for blocks in (4, 8):
        onnx.save(residual(blocks, channels=32), tmp_path / f"{blocks}.onnx")
        wide = {"x": np.zeros((1, 32, 8, 8), np.float32)}
        runs[str(blocks)] = OrtRunner(tmp_path / f"{blocks}.onnx").prepare(wide)
    times = interleave(runs, rounds=10, seconds=0.6)
    found = ratio(times["8"], times["4"])
    assert 1.5 < found.value < 2.5
    assert found.low <= found.value <= found.high


def test_operator_times_name_the_layers(path, feeds):
    rows = OrtRunner(path).operator_times(feeds, repeats=10)
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    assert {"stem", "0.a", "0.b", "2.b", "head"} <= {row.layer for row in rows}
    integer = OrtRunner(quantized(residual(), path.with_name("u8.onnx"), signed=False)).operator_times(
        feeds, repeats=5
    )
    layers = {row.layer: row.operator for row in integer}
    assert layers["1.b"] == "QLinearConv"
    assert layers["1.add"] == "QLinearAdd"


def test_operator_times_are_without_what_the_profiler_adds(tmp_path):
    net = Net((1, 16))
    value = "x"
    for index in range(60):
        value = net.node("Sin" if index % 2 else "Abs", value, name=f"tiny{index}")
    runner = OrtRunner(net.save(value, tmp_path / "tiny.onnx"))
    feeds = {"x": np.ones((1, 16), np.float32)}
    bare = measure(runner, feeds, seconds=0.1)
    assert sum(row.microseconds for row in runner.operator_times(feeds)) < 3e3 * bare.p90


def test_fresh_process_measures_the_models_own_memory(tmp_path):
    peaks = {}
    for size in (64, 3000):
        net = Net((1, size))
        path = net.save(net.gemm("x", "head", size, size), tmp_path / f"{size}.onnx")
        peaks[size] = fresh(path, {"x": np.zeros((1, size), np.float32)}).peak_memory_bytes
    assert peaks[3000] - peaks[64] > 0.9 * 4 * 3000 * 3000
    assert peaks[3000] - peaks[64] < 5 * 4 * 3000 * 3000


def test_fresh_process_hands_back_its_error(path):
    with pytest.raises(BadInput, match=r"'x' .* is missing"):
        fresh(path, {})


def test_profile_has_the_reports_fields(path, feeds):
    found = profile(path, feeds, seconds=0.05, warmup=0.01)
    report = found.to_json()
    assert set(report) == {"latency_ms", "throughput", "peak_memory_bytes", "energy", "not_measured"}
    assert set(report["latency_ms"]) == {"min", "mean", "p50", "p90", "p99", "n", "threads", "batch"}
    assert report["throughput"] == pytest.approx(1e3 / report["latency_ms"]["mean"])
    assert report["peak_memory_bytes"] > 0
    assert report["energy"] is None
    assert report["not_measured"]["energy"]
    assert found.load_seconds > 0
    assert found.operators
    assert found.findings == ()


def small_numbers(path, scale):
    """Depthwise layers that hand on what they get, times 0.9."""
    net = Net((1, 8, 16, 16))
    stream = "x"
    for index in range(4):
        weight = net.constant(f"{index}.w", np.full((8, 1, 1, 1), 0.9, np.float32))
        stream = net.node("Conv", stream, weight, name=f"{index}", group=8)
    return net.save(stream, path), {"x": np.full((1, 8, 16, 16), scale, np.float32)}


def test_a_model_on_denormals_is_flagged(tmp_path):
    path, feeds = small_numbers(tmp_path / "tiny.onnx", 1e-39)
    found = guard(path, feeds)
    assert any("denormal" in finding.what for finding in found)
    assert guard(*small_numbers(tmp_path / "good.onnx", 1.0)) == []


def test_flush_to_zero_reaches_the_fresh_process(tmp_path):
    path, _ = small_numbers(tmp_path / "tiny.onnx", 1e-39)
    code = (
        "import sys, numpy as np; from pathlib import Path; from targets.cpu.runtime import OrtRunner;r = "
        "OrtRunner(Path(sys.argv[1]), flush_to_zero=sys.argv[2] == '1');print(float(np.abs(r.run({'x': "
        "np.full((1, 8, 16, 16), 1e-39, np.float32)})['3_out']).max()))"
    )
    kept, flushed = (
        float(
            subprocess.run(
                [sys.executable, "-c", code, str(path), flag], capture_output=True, text=True, check=True
            ).stdout
        )
        for flag in "01"
    )
    assert kept == pytest.approx(1e-39 * 0.9**4, rel=1e-4)
    assert flushed == 0.0


def test_guard_flags_unsettled_batchnorm(tmp_path, feeds):
    for settled in (True, False):
        net = Net()
        path = net.save(
            net.batchnorm(net.conv("x", "conv"), "bn", settled=settled), tmp_path / f"{settled}.onnx"
        )
        assert [finding.node for finding in guard(path, feeds)] == ([] if settled else ["bn"])


def test_intermediate_holds_every_tensor(path, feeds):
    model = onnx.load(path)
    found = intermediate(model, feeds)
    assert set(found) == {name for node in model.graph.node for name in node.output}
    assert found["stem.relu_out"].min() == 0.0


def test_running_needs_no_torch_and_no_onnx(path):
    code = (
        "import sys, numpy as np; from pathlib import Path; from edgekit.target import find_target;r = "
        "find_target('cpu').runner(Path(sys.argv[1]));r.run({'x': np.zeros((1, 16, 8, 8), "
        "np.float32)});print([name for name in ('torch', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_do_not_spin_and_slow_switches_stay_off(path):
    from targets.cpu.runtime import _options

    options = _options(2, "all", False)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 2
    for switch in ("session.qdqisint8allowed", "session.x64quantprecision"):
        with pytest.raises(RuntimeError):
            options.get_session_config_entry(switch)


def test_target_is_found_by_name(path):
    assert isinstance(CpuTarget().runner(path, threads=2), OrtRunner)
