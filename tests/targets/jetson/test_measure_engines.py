"""measure.py by Python's tensorrt, on fakes with the names that TensorRT 8.4, 8.6, 10.3 and 11.1 have."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv

import numpy as np
import pytest
from fake_board import (
    BOARD,
    ERROR,
    QUICK,
    VERSIONS,
    FakeBoard,
    old_python,
    one_line,
    save_golden,
    save_model,
    save_root,
)

from targets.jetson.reading import read_results

PYTHONS = [sys.executable, pytest.param("3.8", id="python3.8")]


@pytest.fixture
def board(tmp_path):
    return FakeBoard(tmp_path / "out")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_builds_runs_times_and_checks(tmp_path, version, python):
    if python == "3.8":
        python = old_python()
        if python is None:
            pytest.skip("no Python 3.8 here, as JetPack 5 has")
    board = FakeBoard(tmp_path / "out", version, python)
    found = board.measured()
    assert found["schema"] == 1
    assert found["board"] == "jetson-orin-nano"
    assert found["kept"] == "int8"
    assert found["measuring"]["tool"] == "tensorrt"
    assert found["versions"]["tensorrt"] == ".".join(VERSIONS[version].split(".")[:3])
    assert found["versions"]["cuda_runtime"] == "12.6"
    assert list(found["engines"]) == ["fp16", "int8"]
    for precision, engine in found["engines"].items():
        assert engine["golden"] == {
            "max_abs": pytest.approx(ERROR[precision], rel=1e-3),
            "n": 3,
            "top1": 1.0,
            "finite": True,
        }
        assert (board.folder / engine["engine"]).stat().st_size == engine["bytes"]
        assert not engine["cached"]
        assert engine["latency_ms"]["n"] >= 10
        for field in ("latency_ms", "h2d_ms", "compute_ms", "d2h_ms"):
            row = engine[field]
            assert 0 <= row["min"] <= row["p50"] <= row["p90"] <= row["p95"] <= row["p99"] <= row["max"]
            assert row["min"] <= row["mean"] <= row["max"]
        assert engine["compute_ms"]["p50"] >= {"int8": 0.3, "fp16": 0.9}[precision]
        assert [layer["name"] for layer in engine["layers"]] == ["stem", "mean"]
        assert {layer["precision"] for layer in engine["layers"]} == {precision}
        assert sum(layer["ms"] for layer in engine["layers"]) == pytest.approx(
            {"int8": 0.3, "fp16": 0.9}[precision]
        )
        assert engine["layers"][0]["nodes"] == (["stem", "stem.relu"] if version in ("10.3", "11.1") else [])
    assert board.held == 0
    assert read_results(board.folder).to_json() == found


@pytest.mark.parametrize(
    ("version", "network", "flags"),
    [
        ("8.4", 1, {"fp16": ["FP16"], "int8": ["INT8", "FP16"]}),
        ("8.6", 1, {"fp16": ["FP16"], "int8": ["INT8", "FP16"]}),
        ("10.3", 1, {"fp16": ["FP16"], "int8": ["INT8", "FP16"]}),
        ("11.1", 1, {"fp16": [], "int8": []}),  # the bit is STRONGLY_TYPED's there
    ],
)
def test_flags_are_those_that_the_version_has(tmp_path, version, network, flags):
    board = FakeBoard(tmp_path / "out", version)
    board.measured()
    assert [(note["build"], note["network"]) for note in board.notes] == [
        (flags["fp16"], network),
        (flags["int8"], network),
    ]


def test_fp16_is_measured_beside_int8_and_kept_where_faster(board):
    found = board.measured("--precisions", "int8", FAKE_MS="int8=2")
    assert list(found["engines"]) == ["fp16", "int8"]
    assert found["kept"] == "fp16"
    assert "median latency" in found["kept_because"]
    assert list(board.measured("--precisions", "fp16")["engines"]) == ["fp16"]


def test_results_that_are_not_finite_are_not_kept(board):
    found = board.measured(FAKE_NAN="int8")
    assert found["kept"] == "fp16"
    assert found["engines"]["int8"]["golden"]["finite"] is False
    assert found["engines"]["int8"]["golden"]["max_abs"] is None
    done = board.run("--precisions", "fp16", FAKE_NAN="fp16")
    assert "not finite" in one_line(done)
    assert board.result()["kept"] is None
    assert "every engine gave non-finite outputs" in read_results(board.folder).why_none


def test_tensorrt_11_takes_fp16_from_the_file_alone(tmp_path):
    board = FakeBoard(tmp_path / "out", "11.1")
    assert board.measured()["engines"]["fp16"]["onnx"] == "model_fp16.onnx"
    (board.folder / "model_fp16.onnx").unlink()
    found = board.measured()
    assert list(found["engines"]) == ["fp32", "int8"]
    assert "model_fp16.onnx is not in the folder" in found["not_measured"]["fp16"]


def test_an_engine_is_built_once(board):
    board.measured()
    again = board.measured()
    assert all(engine["cached"] and engine["rebuilt_because"] is None for engine in again["engines"].values())
    assert len(board.notes) == 2
    assert again["engines"]["int8"]["build_seconds"] >= 0


def other_model(board):
    save_model(board.folder / "model.onnx", pairs=True, seed=1)


def other_release(board):
    save_root(board.root, l4t="36 (release), REVISION: 4.3")


def other_module(board):
    save_root(board.root, model="NVIDIA Jetson AGX Orin")


def damaged(board):
    with open(board.folder / "engines/int8.engine", "r+b") as file:
        file.write(b"X")


def no_card(board):
    (board.folder / "engines/int8.json").unlink()


def broken_card(board):
    (board.folder / "engines/int8.json").write_text("{")


@pytest.mark.parametrize(
    ("change", "environment", "version", "reason", "rebuilt"),
    [
        (other_model, {}, "8.6", r"onnx was \w{12}, is \w{12}", ["int8"]),
        (other_release, {}, "8.6", "l4t was 36.3.0, is 36.4.3", ["fp16", "int8"]),
        (other_module, {}, "8.6", "model was NVIDIA Jetson Orin Nano", ["fp16", "int8"]),
        (
            None,
            {"FAKE_GPU": "Thor", "FAKE_CC": "11.0"},
            "8.6",
            "gpu was Orin, is Thor; compute_capability",
            ["fp16", "int8"],
        ),
        (None, {"FAKE_CC": "7.2"}, "8.6", "compute_capability was 8.7, is 7.2", ["fp16", "int8"]),
        (None, {}, "10.3", "tensorrt was 8.6.2, is 10.3.0", ["fp16", "int8"]),
        (damaged, {}, "8.6", "bytes are not those that were built", ["int8"]),
        (no_card, {}, "8.6", "has no key", ["int8"]),
        (broken_card, {}, "8.6", "has no key", ["int8"]),
    ],
)
def test_an_engine_of_another_key_is_built_again_and_says_why(
    board, change, environment, version, reason, rebuilt
):
    board.measured()
    if change is not None:
        change(board)
    board.version = version
    done = board.run(**environment)
    assert done.returncode == 0, done.stderr
    engines = board.result()["engines"]
    assert [name for name in engines if not engines[name]["cached"]] == rebuilt
    for name in rebuilt:
        assert re.search(reason, engines[name]["rebuilt_because"])
        assert re.search(f"{name}: building .* again", done.stdout)


def test_a_precision_is_part_of_the_key(board):
    board.measured()
    cards = [
        json.loads((board.folder / f"engines/{name}.json").read_text())["key"] for name in ("fp16", "int8")
    ]
    assert [card["precision"] for card in cards] == ["fp16", "int8"]
    shutil.copy(board.folder / "engines/fp16.json", board.folder / "engines/int8.json")
    assert "precision was fp16, is int8" in board.measured()["engines"]["int8"]["rebuilt_because"]


def test_a_cached_engine_that_cannot_be_loaded_is_built_again(board):
    board.measured()
    for name in ("fp16", "int8"):  # the card is right, the engine another board's all the same
        engine, card = board.folder / f"engines/{name}.engine", board.folder / f"engines/{name}.json"
        engine.write_bytes(engine.read_bytes().replace(b'"cc": "8.7"', b'"cc": "7.2"'))
        content = json.loads(card.read_text())
        content["engine_sha256"] = hashlib.sha256(engine.read_bytes()).hexdigest()
        card.write_text(json.dumps(content))
    found = board.measured()
    assert "could not be loaded" in found["engines"]["int8"]["rebuilt_because"]
    assert "compute 8.7 got compute 7.2" in found["engines"]["int8"]["rebuilt_because"]


def test_the_timing_cache_serves_the_next_build_and_is_kept_by_board(board):
    board.measured()
    assert [note["timing"] for note in board.notes] == [0, len(b"timing 8.6.2.3 of Orin")]
    board.measured(FAKE_GPU="Thor")
    assert [note["timing"] for note in board.notes[2:]] == [0, len(b"timing 8.6.2.3 of Thor")]
    caches = [name for name in board.engines() if name.startswith("timing-")]
    assert len(caches) == 2
    for name in caches:
        (board.folder / "engines" / name).write_bytes(b"of another version")
    other_model(board)
    board.measured()
    assert [note["timing"] for note in board.notes[4:]] == [0, len(b"timing 8.6.2.3 of Orin")]


def test_no_build_uses_what_is_there_or_stops(board):
    line = one_line(board.run("--no-build"))
    assert "there is none" in line
    board.measured()
    assert board.measured("--no-build")["engines"]["int8"]["cached"]
    line = one_line(board.run("--no-build", "--precisions", "fp16", FAKE_GPU="Xavier", FAKE_CC="7.2"))
    assert "gpu was Orin, is Xavier" in line
    assert "not portable" in line


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_kill_in_mid_build_leaves_no_engine(board, signal_number):
    process = board.start(FAKE_BUILD_SECONDS="60")
    while "building" not in process.stdout.readline():
        pass
    time.sleep(0.5)
    os.killpg(process.pid, signal_number)
    process.wait(timeout=30)
    assert not [name for name in board.engines() if name.endswith((".engine", ".json"))]
    assert not (board.folder / "measured.json").exists()
    assert board.measured()["kept"] == "int8"
    assert not [name for name in board.engines() if name.startswith(".tmp")]


def test_what_a_killed_build_left_is_swept_and_a_living_one_s_is_not(board):
    folder = board.folder / "engines"
    folder.mkdir()
    (folder / ".tmp-999999999-int8.engine").write_bytes(b"half")
    (folder / f".tmp-{os.getpid()}-int8.engine").write_bytes(b"half")
    board.measured()
    assert [name for name in board.engines() if name.startswith(".tmp")] == [
        f".tmp-{os.getpid()}-int8.engine"
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_free_batch_gets_a_profile(tmp_path, version):
    board = FakeBoard(tmp_path / "out", version)
    for name, words in (("model", {"pairs": True}), ("model_float", {}), ("model_fp16", {"halves": True})):
        save_model(board.folder / f"{name}.onnx", batch="N", **words)
    found = board.measured("--batch", "2")
    assert found["measuring"]["batch"] == 2
    engine = found["engines"]["int8"]
    assert engine["golden"]["n"] == 3
    assert engine["throughput"] * engine["latency_ms"]["mean"] / 1e3 == pytest.approx(2, rel=0.5)
    assert not board.measured("--batch", "3")["engines"]["int8"]["cached"]


def test_golden_vectors_as_raw_files(board):
    golden = {name: np.load(board.folder / "golden.npz")[name] for name in ("x", "y")}
    (board.folder / "golden.npz").unlink()
    assert "neither golden.npz nor golden/" in board.measured()["not_measured"]["golden"]
    (board.folder / "golden").mkdir()
    golden["x"].tofile(board.folder / "golden/input_0.bin")
    golden["y"].tofile(board.folder / "golden/output_0.bin")
    assert board.measured()["engines"]["int8"]["golden"]["n"] == 3  # names and shapes of the ONNX file
    io = {"inputs": [{"name": "x", "dtype": "float32", "shape": ["N", 3, 8, 8]}]}
    io["outputs"] = [{"name": "y", "dtype": "float32", "shape": ["N", 4]}]
    (board.folder / "io.json").write_text(json.dumps(io))
    assert board.measured()["engines"]["int8"]["golden"]["n"] == 3
    (board.folder / "golden/output_0.bin").write_bytes(b"123")
    assert "cannot be read" in board.measured()["not_measured"]["golden"]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.zeros((2, 3, 8, 8), np.float32)}, "have no 'y'"),
        (
            {"x": np.zeros((2, 3, 8, 8), np.float32), "y": np.zeros((3, 4), np.float32)},
            r"hold \[2, 3\] samples",
        ),
        ({"x": np.zeros((2, 3, 8, 9), np.float32), "y": np.zeros((2, 4), np.float32)}, "'x' has the shape"),
        ({"x": np.asfortranarray(np.zeros((2, 3), np.float32))}, "C order"),
    ],
)
def test_golden_vectors_that_do_not_fit_are_not_measured(board, arrays, reason):
    np.savez(board.folder / "golden.npz", **arrays)
    found = board.measured()
    assert all(engine["golden"] is None for engine in found["engines"].values())
    assert re.search(reason, " ".join(found["not_measured"].values()))


def test_half_inputs_are_fed_as_halves(board):
    save_model(board.folder / "model_float.onnx", kind="HALF")
    assert board.measured()["engines"]["fp16"]["golden"]["max_abs"] == pytest.approx(0.001, abs=3e-4)


def test_one_failed_precision_leaves_the_other_measured(board):
    done = board.run(FAKE_BUILD_ERROR="int8:Error Code 10: no implementation for node stem")
    assert "no implementation for node stem" in one_line(done)
    found = board.result()
    assert list(found["engines"]) == ["fp16"]
    assert found["kept"] == "fp16"
    assert "no implementation" in found["not_measured"]["int8"]


def test_a_gpu_without_fast_int8_is_no_failure(board):
    found = board.measured(FAKE_FAST_INT8="0")
    assert list(found["engines"]) == ["fp16"]
    assert "no fast INT8" in found["not_measured"]["int8"]


def test_the_builder_s_memory_can_be_limited(board):
    board.measured("--workspace", "256")
    assert [note["workspace"] for note in board.notes] == [256 << 20] * 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refused_node_is_named_with_the_parser_s_reason(tmp_path, version):
    board = FakeBoard(tmp_path / "out", version)
    refuse = {
        "node": 3,
        "name": "dq",
        "operator": "DynamicQuantizeLinear",
        "desc": "Assertion failed: no plugin",
    }
    save_model(board.folder / "model.onnx", pairs=True, refuse=refuse)
    line = one_line(board.run())
    assert "model.onnx" in line
    assert "node 3" in line
    assert "Assertion failed: no plugin" in line
    assert ("'dq' (DynamicQuantizeLinear)" in line) == (version in ("10.3", "11.1"))
    assert list(board.result()["engines"]) == ["fp16"]


def test_a_file_that_is_no_onnx(board):
    (board.folder / "model_float.onnx").write_bytes(b"hello")
    line = one_line(board.run("--precisions", "fp16"))
    assert "cannot read it" in line
    assert "no ONNX file" in line


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"FAKE_BUILD_ERROR": "fp16:Error Code 2: OutOfMemory (no further information)"},
            ["out of memory", "add swap"],
        ),
        (
            {"FAKE_CONTEXT_ERROR": "Error Code 2: Requested amount of GPU memory: out of memory"},
            ["out of memory"],
        ),
        ({"FAKE_CUDA_FAIL": "cudaMalloc=2"}, ["cudaMalloc", "out of memory", "--batch"]),
        ({"FAKE_CUDA_FAIL": "cudaGetDeviceCount=100"}, ["no CUDA-capable device", "runtime nvidia"]),
        (
            {"FAKE_CUDA_FAIL": "cudaGetDeviceCount=35"},
            ["driver version is insufficient", "run on the board"],
        ),
        ({"FAKE_DEVICES": "0"}, ["no GPU is visible"]),
        ({"EDGEKIT_CUDART": "/nowhere/libcudart.so"}, ["/nowhere/libcudart.so cannot be loaded"]),
    ],
)
def test_what_goes_wrong_is_one_line(board, environment, words):
    line = one_line(board.run("--precisions", "fp16", **environment))
    assert all(word in line for word in words), line
    if (board.folder / "measured.json").exists():  # it got as far as an engine
        assert all(word in read_results(board.folder).why_none for word in words)


def test_no_tensorrt_at_all(board):
    line = one_line(board.run(module=False))
    assert "no module tensorrt" in line
    assert "--system-site-packages" in line
    assert "libnvinfer-bin" in line


def test_a_virtual_environment_hides_jetpack_s_packages(board, tmp_path):
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    board.python = str(tmp_path / "env/bin/python")
    assert "virtual environment, which hides JetPack's packages" in one_line(board.run(module=False))


def test_a_module_that_lacks_its_library(board, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/tensorrt.py").write_text(
        "raise ImportError('libnvinfer.so.8: cannot open shared object file')"
    )
    line = one_line(board.run(PYTHONPATH=str(tmp_path / "broken")))
    assert "cannot load the module tensorrt: libnvinfer.so.8" in line


def test_folders_without_models(tmp_path, board):
    assert "no such folder" in one_line(board.run("--folder", str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    line = one_line(board.run("--folder", str(tmp_path / "empty")))
    assert "there is no model to build" in line
    assert "model.onnx is not in the folder" in line


def test_a_model_that_cannot_be_read(board):
    if os.geteuid() == 0:
        pytest.skip("root reads every file")
    (board.folder / "model_float.onnx").chmod(0)
    assert "model_float.onnx: Permission denied" in one_line(board.run("--precisions", "fp16"))


def test_a_float_model_alone_is_enough(board):
    (board.folder / "model_float.onnx").rename(board.folder / "model.onnx")
    found = board.measured()
    assert list(found["engines"]) == ["fp16"]
    assert found["not_measured"]["int8"] == "model.onnx has no Q/DQ pairs"


def test_the_board_s_state_is_recorded_and_nothing_is_set(board):
    board.program("nvpmodel", '[ "$*" = "-q" ] && printf "NV Power Mode: 15W\\n0\\n" || exit 9')
    board.program(
        "jetson_clocks", '[ "$*" = "--show" ] && echo "GPU MinFreq=306000000 CurrentFreq=624750000" || exit 9'
    )
    device = board.measured()["device"]
    assert device["gpu"] == "Orin"
    assert device["compute_capability"] == "8.7"
    assert device["memory_bytes"] == 8 << 30
    assert device["l4t"] == "36.3.0"
    assert device["model"] == "NVIDIA Jetson Orin Nano Developer Kit"
    for moment in ("before", "after"):
        assert device[moment] == {
            "power_mode": "15W",
            "jetson_clocks": ["GPU MinFreq=306000000 CurrentFreq=624750000"],
            "clocks_mhz": {"cpu0": 1510.4, "gpu": 624.75},
            "temperatures_c": {"cpu-thermal": 45.5},
            "not_read": {},
        }


def test_a_state_that_cannot_be_read_has_a_reason(board):
    board.program("jetson_clocks", 'echo "Error: this needs root"; exit 1')
    before = board.measured()["device"]["before"]
    assert before["power_mode"] is None
    assert "nvpmodel" in before["not_read"]["power_mode"]
    assert before["not_read"]["jetson_clocks"] == "Error: this needs root"


def test_the_folder_is_this_one_or_that_of_the_script(board, tmp_path):
    place = board.folder / "board"
    place.mkdir()
    shutil.copy(BOARD / "measure.py", place)
    words = [sys.executable, str(place / "measure.py"), "--root", str(board.root), *QUICK]
    subprocess.run(words, cwd=tmp_path, env=board.settings(), check=True, timeout=60, capture_output=True)
    assert board.result()["kept"] == "int8"


def test_many_golden_samples_in_batches_that_do_not_divide_them(tmp_path):
    board = FakeBoard(tmp_path / "out", "10.3")
    save_golden(board.folder, samples=5)
    for name, words in (("model", {"pairs": True}), ("model_float", {})):
        save_model(board.folder / f"{name}.onnx", batch=2, **words)
    assert board.measured()["engines"]["int8"]["golden"] == {
        "max_abs": pytest.approx(0.02, rel=1e-3),
        "n": 5,
        "top1": 1.0,
        "finite": True,
    }
