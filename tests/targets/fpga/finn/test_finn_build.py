"""The build folder: FINN's own convention, runs without edgekit, never without a folding."""

from __future__ import annotations

import ast
import json
import subprocess

import numpy as np
import onnx
import pytest
from finn_rig import DEVICE, PYNQ, dense, needs_finn

from edgekit.errors import BadInput
from edgekit.target import Board
from targets.fpga.finn import steps
from targets.fpga.finn.build import CONFIG, FOLDING, Device, write_build
from targets.fpga.finn.environment import FINN


@pytest.fixture
def model(tmp_path):
    onnx.save(dense(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def config(build):
    return json.loads((build / CONFIG).read_text())


def arrays(count=3):
    return np.zeros((count, 2, 3)), np.full((count, 6), 2.0)


def test_the_folder_is_the_one_that_finn_expects(tmp_path, model):
    inputs, expected = arrays()
    build = write_build(tmp_path, model, DEVICE, target_fps=1e4, inputs=inputs, expected=expected)
    assert sorted(path.name for path in build.iterdir()) == [
        "README.md",
        "build.py",
        "dataflow_build_config.json",
        "expected_output.npy",
        "input.npy",
        "model.onnx",
    ]
    found = config(build)
    assert found["board"] == "Pynq-Z1"
    assert found["synth_clk_period_ns"] == 10.0
    assert found["target_fps"] == 10000
    assert found["verification_atol"] == pytest.approx(2e-4)
    assert "steps" not in found
    assert not any(str(value).startswith("/") for value in found.values())


def test_without_a_rate_and_a_folding_nothing_is_written(tmp_path, model):
    with pytest.raises(BadInput, match="neither a target frame rate nor a folding file"):
        write_build(tmp_path, model, DEVICE)
    assert not (tmp_path / "finn_build").exists()
    with pytest.raises(BadInput, match="no frame rate"):
        write_build(tmp_path, model, DEVICE, target_fps=0)


def test_a_folding_file_is_taken_when_given_and_when_found(tmp_path, model):
    (tmp_path / "own.json").write_text('{"Defaults": {}}')
    build = write_build(tmp_path, model, DEVICE, folding=tmp_path / "own.json")
    assert config(build)["folding_config_file"] == FOLDING
    assert "target_fps" not in config(build)
    build = write_build(tmp_path, model, DEVICE)
    assert (build / FOLDING).read_text() == '{"Defaults": {}}'
    build = write_build(tmp_path, model, DEVICE, target_fps=100)
    assert not (build / FOLDING).exists()
    assert "folding_config_file" not in config(build)
    with pytest.raises(BadInput, match="there is no folding file"):
        write_build(tmp_path, model, DEVICE, folding=tmp_path / "none.json")


def test_arrays_that_do_not_fit_are_refused(tmp_path, model):
    inputs, expected = arrays()
    with pytest.raises(BadInput, match="Give both or neither"):
        write_build(tmp_path, model, DEVICE, target_fps=1, inputs=inputs)
    with pytest.raises(BadInput, match="2 inputs of"):
        write_build(tmp_path, model, DEVICE, target_fps=1, inputs=inputs[:2], expected=expected)
    with pytest.raises(BadInput, match=r"takes \[2, 3\]"):
        write_build(tmp_path, model, DEVICE, target_fps=1, inputs=np.zeros((3, 6)), expected=expected)


def test_files_that_finn_cannot_take_are_refused(tmp_path, model):
    onnx.save(dense(batch=4), tmp_path / "batch.onnx")
    with pytest.raises(BadInput, match="batch 1"):
        write_build(tmp_path, tmp_path / "batch.onnx", DEVICE, target_fps=1)
    plain = dense()
    del plain.graph.node[:]
    onnx.save(plain, tmp_path / "plain.onnx")
    with pytest.raises(BadInput, match="no QONNX file"):
        write_build(tmp_path, tmp_path / "plain.onnx", DEVICE, target_fps=1)


def test_a_board_without_a_shell_ends_with_the_stitched_ip(tmp_path, model):
    build = write_build(tmp_path, model, Device("own", "xc7a100t", clock_mhz=50.0), target_fps=1)
    assert "board" not in config(build)
    assert "bitfile" not in config(build)["generate_outputs"]
    assert config(build)["synth_clk_period_ns"] == 20.0
    assert "output/stitched_ip" in (build / "README.md").read_text()


def test_a_device_comes_from_the_boards_facts():
    assert Device.of(PYNQ) == Device("pynq-z1", "xc7z020clg400-1", "Pynq-Z1", "vivado_zynq", 100.0)
    with pytest.raises(BadInput, match="no fact 'part'"):
        Device.of(Board("b", "B", "fpga"))


def test_a_network_that_forks_gets_the_residual_steps(tmp_path):
    onnx.save(dense(add=True), tmp_path / "res.onnx")
    build = write_build(tmp_path, tmp_path / "res.onnx", DEVICE, target_fps=1)
    assert config(build)["steps"] == steps.build_steps("residual")
    assert config(build)["standalone_thresholds"] is True
    assert "Xilinx's FINN lacks them" in (build / "README.md").read_text()


def test_the_script_needs_finn_alone(tmp_path, model):
    build = write_build(tmp_path, model, DEVICE, target_fps=1)
    tree = ast.parse((build / "build.py").read_text())
    named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    plain = {item.name for node in ast.walk(tree) if isinstance(node, ast.Import) for item in node.names}
    assert {name.partition(".")[0] for name in named | plain} == {"os", "sys", "pathlib", "finn"}
    readme = (build / "README.md").read_text()
    assert "./run-docker.sh build_dataflow" in readme
    assert "finn build dataflow_build_config.json model.onnx" in readme
    assert "finn-plus 1.6.1" in readme


LOAD = """
import sys, types
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import worker
builder = worker._finn()
from finn.builder.build_dataflow_config import DataflowBuildConfig
config = DataflowBuildConfig.construct_from(Path(sys.argv[1]))
print([step.__name__ for step in builder.resolve_build_steps(config)])
"""


@needs_finn
@pytest.mark.parametrize("kind", ["chain", "residual"])
def test_finn_itself_reads_the_configuration_and_knows_every_step(tmp_path, kind):
    onnx.save(dense(add=kind == "residual"), tmp_path / "net.onnx")
    inputs, expected = arrays()
    build = write_build(
        tmp_path, tmp_path / "net.onnx", DEVICE, target_fps=9, inputs=inputs, expected=expected
    )
    done = subprocess.run(
        [FINN.require().python, "-c", LOAD, build / CONFIG, steps.__file__.rpartition("/")[0]],
        capture_output=True,
        text=True,
        env={"FINN_BUILD_DIR": str(tmp_path), "FINN_SETTINGS": str(tmp_path / "none.yaml")},
    )
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert found == [name.rpartition(".")[2] for name in steps.build_steps(kind)]
