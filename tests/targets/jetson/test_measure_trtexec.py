"""measure.py and build_engine.sh by trtexec, on fakes that take the options of 8.4, 8.6, 10.3 and 11.1 and no other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from fake_board import BOARD, ERROR, VERSIONS, FakeBoard, old_python, one_line, save_golden, save_model

from targets.jetson.board import measure
from targets.jetson.reading import read_results


@pytest.fixture
def board(tmp_path):
    return FakeBoard(tmp_path / "out").with_trtexec()


@pytest.mark.parametrize("python", ["", "3.8"])
@pytest.mark.parametrize("version", VERSIONS)
def test_builds_runs_times_and_checks(tmp_path, version, python):
    board = FakeBoard(tmp_path / "out", version).with_trtexec()
    if python:
        board.python = old_python()
        if board.python is None:
            pytest.skip("no Python 3.8 here, as JetPack 5 has")
    found = board.measured("--trtexec")
    assert found["measuring"]["tool"] == "trtexec"
    assert (
        found["versions"]["tensorrt"]
        == {"8.4": "8.4.1", "8.6": "8.6.2", "10.3": "10.3.0", "11.1": "11.1.0"}[version]
    )
    assert found["kept"] == "int8"
    for precision, engine in found["engines"].items():
        slow = {"int8": 0.3, "fp16": 0.9}[precision]
        assert engine["h2d_ms"]["p50"] == pytest.approx(0.05)  # 11 leaves copies out unless told otherwise
        assert engine["d2h_ms"]["mean"] == pytest.approx(0.02)
        assert engine["compute_ms"]["min"] == pytest.approx(slow)
        assert engine["latency_ms"]["min"] == pytest.approx(slow + 0.07)
        assert engine["latency_ms"]["n"] == 20
        assert engine["throughput"] == 1234.5
        assert engine["golden"]["max_abs"] == pytest.approx(
            ERROR[precision], abs=1e-5
        )  # six digits are printed
        assert engine["golden"]["n"] == 3
        assert [(layer["name"], layer["precision"]) for layer in engine["layers"]] == [
            ("stem", precision),
            ("mean", precision),
        ]
        assert engine["layers"][0]["ms"] == pytest.approx(slow / 2)
    assert read_results(board.folder).to_json() == found


def test_without_the_module_trtexec_is_used_and_said(board):
    done = board.run(module=False)
    assert done.returncode == 0, done.stderr
    assert "has no module tensorrt" in done.stdout
    assert f"{board.programs / 'trtexec'} is used" in done.stdout
    assert board.result()["measuring"]["tool"] == "trtexec"


def test_trtexec_where_jetpack_puts_it(board):
    place = board.root / "usr/src/tensorrt/bin"
    place.mkdir(parents=True)
    shutil.move(board.programs / "trtexec", place / "trtexec")
    assert board.measured(module=False)["measuring"]["tool"] == "trtexec"
    assert board.measured("--trtexec", str(place / "trtexec"))["engines"]["int8"]["cached"]


def test_no_trtexec_where_it_was_asked_for(tmp_path):
    line = one_line(FakeBoard(tmp_path / "out").run("--trtexec"))
    assert "trtexec is neither on PATH nor in /usr/src/tensorrt/bin" in line


def test_a_program_that_is_no_trtexec(board):
    board.program("trtexec", "echo hello")
    assert "lists no option --onnx" in one_line(board.run("--trtexec"))


def test_without_cuda_s_library_the_board_s_name_stands_for_the_gpu(board):
    found = board.measured("--trtexec", EDGEKIT_CUDART="/nowhere.so")
    assert found["device"]["gpu"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found["device"]["compute_capability"] == "8.7"  # as trtexec prints it
    assert board.measured("--trtexec", EDGEKIT_CUDART="/nowhere.so")["engines"]["int8"]["cached"]


def test_an_engine_is_built_once_and_again_for_another_key(board):
    board.measured("--trtexec")
    assert board.measured("--trtexec")["engines"]["int8"]["cached"]
    save_model(board.folder / "model.onnx", pairs=True, seed=1)
    engines = board.measured("--trtexec")["engines"]
    assert "onnx was" in engines["int8"]["rebuilt_because"]
    assert engines["fp16"]["cached"]
    assert (
        "gpu was Orin, is Thor"
        in board.measured("--trtexec", FAKE_GPU="Thor")["engines"]["fp16"]["rebuilt_because"]
    )


def test_the_module_and_the_program_share_engines_of_one_version(board):
    board.measured()
    assert board.measured("--trtexec")["engines"]["int8"]["cached"]


def test_a_cached_engine_that_cannot_be_loaded_is_built_again(board):
    board.measured("--trtexec", "--precisions", "fp16")
    (board.folder / "engines/fp16.engine").write_bytes(b"{}")
    assert "bytes are not those" in board.measured("--trtexec")["engines"]["fp16"]["rebuilt_because"]


def test_options_of_each_version(tmp_path):
    wanted = {
        "8.4": {"buildOnly", "fp16", "int8", "memPoolSize"},
        "8.6": {"skipInference", "fp16", "int8", "memPoolSize"},
        "10.3": {"skipInference", "fp16", "int8", "memPoolSize"},
        "11.1": {"skipInference", "stronglyTyped", "memPoolSize"},
    }
    always = {"onnx", "saveEngine", "timingCacheFile", "profilingVerbosity"}
    timed = {
        "loadEngine",
        "warmUp",
        "duration",
        "iterations",
        "exportTimes",
        "exportProfile",
        "exportLayerInfo",
    }
    spins = {"11.1": {"includeDataTransfers", "noCudaGraph"}}
    for version, options in wanted.items():
        board = FakeBoard(tmp_path / version / "out", version).with_trtexec()
        (board.folder / "golden.npz").unlink()
        board.measured("--trtexec", "--precisions", "int8", "--workspace", "512")
        notes = board.notes
        assert set(notes[1]) == always | options, version
        assert set(notes[3]) == timed | spins.get(version, {"useSpinWait", "separateProfileRun"}), version
        assert notes[1]["memPoolSize"] == "workspace:512"


def test_a_trtexec_before_memory_pools_gets_a_workspace():
    flags = frozenset({"--onnx", "--fp16", "--int8", "--workspace", "--buildOnly"})
    plan = measure.Plan("int8", BOARD / "model.onnx", "0" * 64)
    command = measure.build_command(
        "trtexec", flags, plan, BOARD / "e", BOARD / "t", "", measure.arguments([])
    )
    assert "--workspace=512" in command
    assert not [word for word in command if word.startswith("--memPoolSize")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_free_batch_gets_shapes_and_a_fixed_one_none(tmp_path, version):
    board = FakeBoard(tmp_path / "out", version).with_trtexec()
    for name, words in (("model", {"pairs": True}), ("model_float", {}), ("model_fp16", {"halves": True})):
        save_model(board.folder / f"{name}.onnx", batch="N", **words)
    found = board.measured("--trtexec", "--batch", "2")
    assert found["engines"]["int8"]["golden"]["n"] == 3
    assert found["engines"]["int8"]["throughput"] == pytest.approx(2 * 1234.5)
    build = next(note for note in board.notes if "onnx" in note)
    assert build["minShapes"] == build["optShapes"] == build["maxShapes"] == "x:2x3x8x8"


def test_golden_vectors_are_cut_to_a_few_processes(board):
    save_golden(board.folder, samples=20)
    assert board.measured("--trtexec")["engines"]["int8"]["golden"]["n"] == measure.GOLDEN_PROCESSES


def test_golden_vectors_that_do_not_fit_are_not_measured(board):
    np.savez(
        board.folder / "golden.npz", x=np.zeros((2, 3, 8, 8), np.float32), y=np.zeros((2, 5), np.float32)
    )
    found = board.measured("--trtexec")
    assert found["engines"]["int8"]["golden"] is None
    assert "5 values for an output of 4" in found["not_measured"]["int8.golden"]
    np.savez(board.folder / "golden.npz", x=np.zeros((2, 3, 8, 8), np.float32))
    assert "have no 'y'" in board.measured("--trtexec")["not_measured"]["int8.golden"]


def test_results_that_are_not_finite_are_not_kept(board):
    found = board.measured("--trtexec", FAKE_NAN="int8")
    assert found["engines"]["int8"]["golden"]["finite"] is False
    assert found["kept"] == "fp16"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_printed_summary_stands_in_for_missing_times(tmp_path, version):
    board = FakeBoard(tmp_path / "out", version).with_trtexec()
    found = board.measured("--trtexec", FAKE_NO_TIMES="1")
    row = found["engines"]["int8"]["latency_ms"]
    assert row["min"] == pytest.approx(0.37)
    assert row["n"] == 20
    assert (row["p90"] is None) == (version == "8.4")  # which prints the 99th alone
    results = read_results(board.folder)
    assert (results.latency() is None) == (version == "8.4")
    assert ("latency_ms" in results.profile().not_measured) == (version == "8.4")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refused_node_is_named_with_the_parser_s_reason(tmp_path, version):
    board = FakeBoard(tmp_path / "out", version).with_trtexec()
    refuse = {
        "node": 3,
        "name": "dq",
        "operator": "DynamicQuantizeLinear",
        "desc": "Assertion failed: no plugin",
    }
    save_model(board.folder / "model.onnx", pairs=True, refuse=refuse)
    line = one_line(board.run("--trtexec"))
    assert "refuses node 3 'dq' (DynamicQuantizeLinear): Assertion failed: no plugin" in line
    assert list(board.result()["engines"]) == ["fp16"]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"FAKE_BUILD_ERROR": "fp16:Error Code 2: OutOfMemory (no further information)"},
            ["out of memory", "add swap"],
        ),
        ({"FAKE_TRTEXEC_KILL": "1"}, ["out of memory"]),
        (
            {"FAKE_BUILD_ERROR": "fp16:Error Code 10: no implementation for node stem"},
            ["no implementation for node stem"],
        ),
    ],
)
def test_what_goes_wrong_is_one_line(board, environment, words):
    line = one_line(board.run("--trtexec", "--precisions", "fp16", **environment))
    assert all(word in line for word in words), line
    assert not [name for name in board.engines() if name.endswith(".engine")]


def test_a_file_that_is_no_onnx(board):
    (board.folder / "model_float.onnx").write_bytes(b"hello")
    assert "it is no ONNX file" in one_line(board.run("--trtexec", "--precisions", "fp16"))


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_kill_in_mid_build_leaves_no_engine_and_no_trtexec(board, signal_number):
    process = board.start("--trtexec", FAKE_BUILD_SECONDS="60")
    while "building" not in process.stdout.readline():
        pass
    wait_for(lambda: any(name.endswith("fp16.engine") for name in board.engines()))
    os.kill(process.pid, signal_number)  # measure.py alone: trtexec ends with it
    process.wait(timeout=30)
    wait_for(lambda: not group_lives(process.pid))
    assert not [name for name in board.engines() if not name.startswith(".tmp")]
    assert board.measured("--trtexec")["kept"] == "int8"
    assert not [name for name in board.engines() if name.startswith(".tmp")]


def wait_for(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class TestScript:
    """build_engine.sh, which needs no Python."""

    def run(self, board, *words, **environment):
        place = board.folder / "board"
        place.mkdir(exist_ok=True)
        shutil.copy(BOARD / "build_engine.sh", place)
        return subprocess.run(
            ["sh", str(place / "build_engine.sh"), *words],
            env=board.settings(module=False, **environment),
            cwd=board.folder.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @pytest.mark.parametrize("version", VERSIONS)
    def test_builds_and_times(self, tmp_path, version):
        board = FakeBoard(tmp_path / "out", version).with_trtexec()
        done = self.run(board)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "int8:" in done.stdout
        assert "Throughput: 1234.5 qps" in done.stdout
        for name in ("engine", "txt", "times.json", "profile.json", "layers.json"):
            assert (board.folder / f"engines/int8.{name}").stat().st_size > 0
        builds = [note for note in board.notes if "onnx" in note]
        assert [note["onnx"] for note in builds] == [
            "model_fp16.onnx" if version == "11.1" else "model_float.onnx",
            "model.onnx",
        ]
        assert [{"fp16", "int8"} & set(note) for note in builds] == (
            [set(), set()] if version == "11.1" else [{"fp16"}, {"fp16", "int8"}]
        )
        assert all(
            ("includeDataTransfers" in note) == (version == "11.1")
            for note in board.notes
            if "loadEngine" in note
        )

    def test_measure_builds_again_what_the_script_built(self, board):
        board.measured()
        assert self.run(board, "int8").returncode == 0
        engines = board.measured()["engines"]
        assert engines["fp16"]["cached"]
        assert engines["int8"]["rebuilt_because"] == "the engine that was there has no key"

    def test_settings(self, board):
        for name in ("model", "model_float"):
            save_model(board.folder / f"{name}.onnx", pairs=name == "model", batch="N")
        done = self.run(board, "int8", WORKSPACE="256", SHAPES="x:4x3x8x8", RUN_SECONDS="1")
        assert done.returncode == 0, done.stderr
        build, timing = (note for note in board.notes if "help" not in note)
        assert build["memPoolSize"] == "workspace:256"
        assert build["maxShapes"] == timing["shapes"] == "x:4x3x8x8"
        assert timing["duration"] == "1"

    def test_what_goes_wrong(self, board):
        done = self.run(board, "int8", FAKE_BUILD_ERROR="int8:Error Code 10: no implementation for node stem")
        assert done.returncode == 2
        assert "no implementation for node stem" in done.stderr
        assert not [name for name in board.engines() if "engine" in name]
        assert self.run(board, "int4").returncode == 2
        assert "the precision 'int4' is unknown" in self.run(board, "int4").stderr
        (board.folder / "model.onnx").unlink()
        assert "model.onnx is not in" in self.run(board, "int8").stderr
        (board.programs / "trtexec").unlink()
        done = self.run(board)
        assert done.returncode == 2
        assert "sudo apt install libnvinfer-bin" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1

    def test_shellcheck(self):
        program = shutil.which("shellcheck")
        if program is None:
            pytest.skip("shellcheck is not installed")
        subprocess.run([program, "-s", "sh", str(BOARD / "build_engine.sh")], check=True, timeout=60)
