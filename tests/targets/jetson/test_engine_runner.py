"""The runner over an engine: on fakes of TensorRT and CUDA that compute the real file, and on a GPU where one is."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from fake_board import CLASSES, ERROR, FAKES, SHAPE, VERSIONS, cudart, expected, save_model, save_root

from edgekit.board_figures import is_away
from edgekit.cli import main
from edgekit.errors import BadInput
from edgekit.profile.latency import measure as measure_latency
from edgekit.signature import TensorSpec
from edgekit.target import find_board, find_target
from targets.jetson.board import measure
from targets.jetson.engine import EngineRunner, Here, here, precision_of
from targets.jetson.runtime import StandInRunner
from tests.targets.test_jetson import TARGET, whole

MODULES = ("tensorrt", "fake_net")


def forget():
    here.cache_clear()
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """This machine as a Jetson with some TensorRT: machine(version, **settings)."""
    save_root(tmp_path / "root")

    def made(version="10.3", *, model="NVIDIA Jetson Orin Nano", **settings):
        forget()
        save_root(tmp_path / "root", model=model)
        monkeypatch.syspath_prepend(FAKES)
        given = {"FAKE_TENSORRT": VERSIONS[version], "FAKE_NOTES": str(tmp_path / "notes"), "FAKE_REAL": "1"}
        given |= {"EDGEKIT_CUDART": str(cudart()), "PYTHONPATH": str(FAKES), **settings}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        facts = measure.board_facts(tmp_path / "root")
        monkeypatch.setattr(measure, "board_facts", lambda root: facts)
        return here()

    yield made
    forget()


def builds(tmp_path):
    path = tmp_path / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    return [row["build"] for row in map(json.loads, lines) if "build" in row]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_engine_runs_sample_by_sample(machine, tmp_path, version):
    assert isinstance(machine(version), Here)
    runner = TARGET.runner(save_model(tmp_path / "model.onnx", pairs=True, batch="N"))
    assert isinstance(runner, EngineRunner)
    assert runner.of == f"artefact in TensorRT {'.'.join(VERSIONS[version].split('.')[:3])} on this machine"
    assert runner.signature.inputs == (TensorSpec("x", "float32", ("N", *SHAPE[1:])),)
    assert runner.signature.outputs == (TensorSpec("y", "float32", ("N", CLASSES)),)
    x = np.random.default_rng(0).normal(size=(5, *SHAPE[1:])).astype(np.float32)
    np.testing.assert_allclose(runner.run({"x": x})["y"], expected(x) + ERROR["int8"], atol=1e-5)
    assert builds(tmp_path) == [[] if version == "11.1" else ["INT8", "FP16"]]


@pytest.mark.parametrize("version", ["10.3", "11.1"])
def test_the_file_that_is_written_for_a_board_is_what_its_engine_computes(machine, tmp_path, version):
    machine(version)
    artefact, _, _, feeds = whole("tfc", tmp_path, version)
    runner = TARGET.runner(artefact.path)
    ours, theirs = (next(iter(one.run(feeds).values())) for one in (runner, StandInRunner(artefact.path)))
    assert ours.shape == theirs.shape == (4, 10)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_an_engine_is_built_once_and_is_the_one_that_measure_py_takes(machine, tmp_path, capfd):
    found = machine()
    path = save_model(tmp_path / "model.onnx", pairs=True)
    for _ in range(2):
        EngineRunner(path)
    assert builds(tmp_path) == [["INT8", "FP16"]]
    assert sorted(item.name for item in (tmp_path / "engines").iterdir() if "timing" not in item.name) == [
        "int8.engine",
        "int8.json",
    ]
    assert capfd.readouterr().out == ""
    bench = measure.Bench(found.tool, measure.Store(tmp_path), {}, found.device, measure.arguments([]))
    assert bench.obtain(measure.Plan("int8", path, measure.sha256_of(path)))["cached"]


def test_files_of_a_folder_and_batch_sizes_have_engines_of_their_own(machine, tmp_path):
    machine()
    save_model(tmp_path / "model.onnx", pairs=True, batch="N")
    save_model(tmp_path / "baseline.onnx", batch="N")
    for name in ("model", "baseline"):
        runner = EngineRunner(tmp_path / f"{name}.onnx")
        runner.prepare({"x": np.zeros((3, *SHAPE[1:]), np.float32)})()
    engines = {item.stem for item in (tmp_path / "engines").glob("*.engine")}
    assert engines == {"int8", "batch3-int8", "baseline-fp32", "baseline-batch3-fp32"}
    assert builds(tmp_path) == [["INT8", "FP16"], ["INT8", "FP16"], [], []]


def test_the_precision_is_the_files(tmp_path):
    from edgekit.quant.quantization import Quantization

    artefact, graph, *_ = whole("tfc", tmp_path)
    board = find_board("jetson-orin-nano")
    plain = TARGET.export(graph, None, board, tmp_path / "plain.onnx")
    half = TARGET.export(graph, Quantization(precision="fp16"), board, tmp_path / "half.onnx")
    assert [precision_of(item.path) for item in (artefact, plain, half)] == ["int8", "fp32", "fp16"]
    metadata = onnx.load(half.path).metadata_props
    assert [(item.key, item.value) for item in metadata] == [("edgekit.precision", "fp16")]


def test_a_fixed_batch_is_filled_up_and_cut_again(machine, tmp_path):
    machine()
    runner = EngineRunner(save_model(tmp_path / "m.onnx", batch=2))
    x = np.random.default_rng(0).normal(size=(2, *SHAPE[1:])).astype(np.float32)
    np.testing.assert_allclose(runner.run({"x": x})["y"], expected(x), atol=1e-5)
    runner.prepare({"x": x})()
    assert len(builds(tmp_path)) == 1
    with pytest.raises(BadInput, match=r"the shape \[3, 3, 8, 8\] does not fit \[2, 3, 8, 8\]"):
        runner.run({"x": np.zeros((3, *SHAPE[1:]), np.float32)})


def test_an_engine_of_another_board_is_built_anew(machine, tmp_path):
    machine()
    path = save_model(tmp_path / "m.onnx", pairs=True)
    EngineRunner(path)
    machine("10.3", FAKE_GPU="Thor", FAKE_CC="11.0")
    EngineRunner(path)
    assert len(builds(tmp_path)) == 2


def test_latency_and_layers_are_the_engines(machine, tmp_path):
    machine(FAKE_MS="int8=0.4 fp32=2")
    path = save_model(tmp_path / "model.onnx", pairs=True)
    runner = EngineRunner(path)
    feeds = {"x": np.zeros(SHAPE, np.float32)}
    latency = measure_latency(runner, feeds, seconds=0.05, warmup=0.01)
    assert latency.min >= 0.4  # copies and computing, all of it
    rows = runner.operator_times(feeds, repeats=5)
    assert [(row.name, row.layer) for row in rows] == [("stem", "stem"), ("mean", "mean")]
    assert sum(row.microseconds for row in rows) == pytest.approx(400, rel=0.01)
    assert runner.load_seconds >= 0


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"FAKE_BUILD_ERROR": "int8:Error Code 2: OutOfMemory"}, "out of memory"),
        ({"FAKE_CUDA_FAIL": "cudaMalloc=2"}, "cudaMalloc failed"),
    ],
)
def test_what_goes_wrong_is_one_line(machine, tmp_path, settings, match):
    machine(**settings)
    with pytest.raises(BadInput, match=match) as error:
        EngineRunner(save_model(tmp_path / "m.onnx", pairs=True))
    assert "\n" not in str(error.value)


def test_without_a_gpu_onnxruntime_runs_the_file(machine, tmp_path):
    reason = machine(FAKE_DEVICES="0")
    assert "no GPU is visible" in reason
    path = save_model(tmp_path / "m.onnx")
    assert isinstance(TARGET.runner(path), StandInRunner)
    assert not TARGET.is_here(find_board("jetson-orin-nano"))
    with pytest.raises(BadInput, match="no engine can be built here: CUDA: no GPU is visible"):
        EngineRunner(path)


@pytest.mark.parametrize(
    ("board", "model", "version", "same"),
    [
        ("jetson-orin-nano", "NVIDIA Jetson Orin Nano", "10.3", True),
        ("jetson-orin-nano", "NVIDIA Jetson Orin Nano", "8.6", False),
        ("jetson-orin-nano-jetpack-5", "NVIDIA Jetson Orin Nano", "8.6", True),
        ("jetson-orin-nx", "NVIDIA Jetson Orin Nano", "10.3", False),
        ("jetson-agx-orin-tensorrt-11", "Jetson-AGX Orin", "11.1", False),
        ("jetson-agx-orin-tensorrt-11", "NVIDIA Jetson AGX Orin", "11.1", True),
        ("jetson-thor", "NVIDIA Jetson AGX Thor", "10.3", False),
    ],
)
def test_this_machine_is_a_board_by_gpu_model_and_tensorrt(machine, board, model, version, same):
    machine(version, model=model)
    if model.startswith("Jetson-AGX"):
        same = True  # an older L4T writes a hyphen
    assert TARGET.is_here(find_board(board)) is same


RECIPE = """\
model: ./net.onnx
objective: size
data: {fashion-mnist: {train_limit: 256, test_limit: 64}}
boards: [jetson-orin-nano]
steps:
  - quantize: {}
"""


@pytest.fixture
def on_board(machine, tmp_path):
    """`edgekit compress` on the board itself; the folder it wrote."""
    machine(FAKE_MS="int8=0.2 fp16=0.5 fp32=1")
    _, graph, *_ = whole("tfc", tmp_path)
    onnx.save(graph, tmp_path / "net.onnx")
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert main(["compress", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    return tmp_path / "out"


def test_compress_on_the_board_measures_its_engines(on_board, capsys):
    report = json.loads((on_board / "report.json").read_text())
    result = report["result"]
    assert result["metric"]["of"] == "artefact in TensorRT 10.3.0 on this machine"
    assert result["latency_ms"]["min"] >= 0.2
    assert report["baseline"]["latency_ms"]["min"] >= 1
    assert report["ratio"]["latency"]["value"] > 1.5
    shown = {figure["name"]: figure for figure in report["on_board"]}
    for part in ("to the GPU", "compute", "from the GPU"):
        assert shown[f"{part} (int8)"]["how"] == "measured"
    assert shown["compute (int8)"]["value"] >= 0.2
    assert shown["largest difference to here, int8"]["value"] <= 1e-4
    assert not is_away(on_board)
    capsys.readouterr()
    assert main(["profile", str(on_board), "--seconds", "0.1", "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    files = seen["files"] if isinstance(seen, dict) else seen
    assert files[0]["latency_ms"]["min"] >= 0.2


@pytest.mark.skipif(isinstance(here(), str), reason="no CUDA device with Python's tensorrt")
@pytest.mark.parametrize("name", ["resnet8", "tfc"])
def test_on_a_gpu_the_engine_is_near_the_file_s_own_arithmetic(name, tmp_path):
    release = ".".join(here().tool.version.split(".")[:2])
    artefact, _, _, feeds = whole(name, tmp_path, release)
    runner = find_target("jetson").runner(artefact.path)
    ours, theirs = (next(iter(one.run(feeds).values())) for one in (runner, StandInRunner(artefact.path)))
    assert np.abs(ours - theirs).max() <= 0.1 * np.abs(theirs).max()
    assert runner.operator_times({key: value[:1] for key, value in feeds.items()})
    assert ours.shape[-1] >= CLASSES
