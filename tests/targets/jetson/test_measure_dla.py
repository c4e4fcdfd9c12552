"""Engines for the deep learning accelerator: what it took, what fell back to the GPU, and boards without one."""

from __future__ import annotations

import json
import subprocess

import pytest
from fake_board import BOARD, FakeBoard, one_line

from edgekit.target import Board
from targets.jetson.figures import figures
from targets.jetson.reading import read_results

XAVIER = Board("jetson-xavier-nx", "Xavier NX", "jetson", {})
FELL = {"fp16": ["REDUCE: mean"], "int8": ["QUANTIZE: x.q", "CONVOLUTION: stem", "REDUCE: mean"]}


@pytest.fixture(params=["module", "trtexec"])
def board(request, tmp_path):
    made = FakeBoard(tmp_path / "out", "8.6", environment={"FAKE_DLA": "2"})
    (made.folder / "report.json").write_text(json.dumps({"board": XAVIER.name}))
    made.tool = ["--trtexec"] if request.param == "trtexec" else []
    return made.with_trtexec()


def test_what_fell_back_is_listed_and_read_back(board):
    found = board.measured("--dla", "1", *board.tool)
    for name, engine in found["engines"].items():
        assert engine["dla"] == {"core": 1, "on_dla": int(name == "fp16"), "fell_back": FELL[name]}
    assert read_results(board.folder).to_json() == found
    shown = {figure.name: figure for figure in figures(board.folder, XAVIER)}
    assert shown["pieces on DLA, int8"].value == 0
    assert "CONVOLUTION: stem" in shown["pieces on DLA, int8"].by
    assert shown["pieces on DLA, fp16"].by == "core 1; fell back to the GPU: REDUCE: mean"


def test_an_engine_for_dla_is_kept_apart_from_one_for_the_gpu(board):
    board.measured("--dla", "0", *board.tool)
    again = board.measured("--dla", "0", *board.tool)["engines"]["int8"]
    assert again["cached"]
    assert again["dla"]["fell_back"] == FELL["int8"]
    plain = board.measured(*board.tool)["engines"]["int8"]
    assert plain["rebuilt_because"] == "dla was 0, is None"
    assert plain["dla"] is None


def test_the_core_is_named_when_the_engine_is_built_and_when_it_runs(board):
    board.measured("--dla", "1", "--precisions", "fp16", *board.tool)
    if board.tool:
        given = [note.get("useDLACore") for note in board.notes if "loadEngine" in note or "onnx" in note]
        assert set(given) == {"1"}
        assert all("allowGPUFallback" in note for note in board.notes if "onnx" in note)
    else:
        build, load = board.notes
        assert "GPU_FALLBACK" in build["build"]
        assert load == {"load": 1}


def test_fp32_is_left_out_for_dla_does_not_compute_in_it(board):
    found = board.measured("--dla", "0", "--precisions", "fp32", "fp16", *board.tool)
    assert list(found["engines"]) == ["fp16"]
    assert found["not_measured"]["fp32"] == "DLA computes in fp16 and int8 alone"


@pytest.mark.parametrize(
    ("version", "cores", "words"),
    [
        ("8.6", "0", "--dla 3: this board has no DLA, or this TensorRT does not use it. Run without --dla"),
        ("8.6", "2", "--dla 3: this board has the DLA cores 0 to 1"),
        ("11.1", "2", "has no DLA, or this TensorRT does not use it"),
    ],
)
def test_a_board_without_that_core_is_told_in_one_line(tmp_path, version, cores, words):
    board = FakeBoard(tmp_path / "out", version, environment={"FAKE_DLA": cores})
    line = one_line(board.run("--dla", "3"))
    assert line.count(words) == 1
    assert "model" not in line


def test_trtexec_without_the_option_is_told_in_one_line(tmp_path):
    board = FakeBoard(tmp_path / "out", "11.1").with_trtexec()
    line = one_line(board.run("--dla", "0", "--trtexec", "--precisions", "fp16"))
    assert "this TensorRT does not use it" in line


def test_a_core_is_a_number(tmp_path):
    done = FakeBoard(tmp_path / "out").run("--dla", "first")
    assert done.returncode == 2
    assert "'first' must be a core's number" in done.stderr


def test_the_script_builds_for_dla_too(tmp_path):
    board = FakeBoard(tmp_path / "out", "8.6").with_trtexec()
    words = ["sh", str(BOARD / "build_engine.sh"), "fp16"]
    settings = board.settings(module=False, FAKE_DLA="2", DLA="0")
    done = subprocess.run(words, cwd=board.folder, env=settings, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on the GPU: REDUCE: mean" in done.stdout
    board = FakeBoard(tmp_path / "new" / "out", "11.1").with_trtexec()
    settings = board.settings(module=False, DLA="0")
    done = subprocess.run(words, cwd=board.folder, env=settings, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "does not use DLA" in done.stderr
