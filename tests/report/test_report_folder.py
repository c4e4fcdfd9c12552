"""io.json and run_example.py serve a user who has onnxruntime and numpy, and no edgekit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.report import write_io_json, write_run_example
from edgekit.signature import Preprocessing, Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("image", "float32", ("N", 3, 4, 5)),),
    (TensorSpec("score", "float32", ("N", 3)),),
    Preprocessing(
        layout="NCHW", scale=1 / 255, mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0), resize=(4, 5), color="RGB"
    ),
    ("red", "green", "blue"),
)


def model() -> onnx.ModelProto:
    """score = the mean of each channel."""
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    node = helper.make_node("ReduceMean", ["image", "axes"], ["score"], keepdims=0)
    graph = helper.make_graph(
        [node],
        "means",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 4, 5])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 3])],
        [axes],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(model(), tmp_path / "model.onnx")
    scale = {"image": {"scale": 0.02, "zero_point": 128, "dtype": "uint8"}}
    write_io_json(SIGNATURE, tmp_path / "io.json", quantization_input=scale)
    write_run_example(tmp_path / "run_example.py")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process that can import onnxruntime and numpy but neither edgekit nor torch."""
    block = (
        "import sys, runpy\nclass Absent:\n    def find_spec(self, name, path=None, target=None):\n        "
        "if name.split('.')[0] in ('edgekit', 'targets', 'firmware_bridge', 'torch', 'onnx'):\n            "
        "raise ModuleNotFoundError(name)\nsys.meta_path.insert(0, Absent())\ntry:\n    import "
        "edgekit\nexcept ModuleNotFoundError:\n    pass\nelse:\n    sys.exit('edgekit is here')\nsys.argv "
        "= sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-c", block, str(folder / "run_example.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=os.path.dirname(folder),
        timeout=120,
        check=False,
    )


def test_io_json_says_all_that_goes_in_and_comes_out(folder: Path) -> None:
    content = json.loads((folder / "io.json").read_text())
    assert content["inputs"] == [
        {
            "name": "image",
            "dtype": "float32",
            "shape": ["N", 3, 4, 5],
            "quantization": {"scale": 0.02, "zero_point": 128, "dtype": "uint8"},
        }
    ]
    assert content["outputs"][0]["name"] == "score"
    prep = content["preprocessing"]
    assert (prep["layout"], prep["resize"], prep["color"]) == ("NCHW", [4, 5], "RGB")
    assert (prep["scale"], prep["mean"], prep["std"]) == (1 / 255, [0.5, 0.25, 0.0], [0.5, 1.0, 2.0])
    assert content["classes"] == ["red", "green", "blue"]


def test_it_runs_on_a_random_input(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert "score: float32 [1, 3]" in done.stdout
    assert "ms (median of 50 runs, 1 thread(s))" in done.stdout


def test_an_array_is_preprocessed_by_channel(folder: Path) -> None:
    raw = np.stack([np.full((4, 5), level, np.uint8) for level in (100, 200, 50)])
    np.save(folder / "input.npy", raw)
    done = run(folder, str(folder / "input.npy"))
    assert done.returncode == 0, done.stderr
    # (100/255 - .5)/.5 = -0.2157, (200/255 - .25)/1 = 0.5343, (50/255)/2 = 0.0980
    assert "top class: 1 (green), score 0.5343" in done.stdout


def test_an_image_is_resized_to_the_models_layout(folder: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (31, 17), (255, 51, 51)).save(folder / "input.png")
    done = run(folder, str(folder / "input.png"))
    assert done.returncode == 0, done.stderr
    assert "top class: 0 (red), score 1.0000" in done.stdout  # (1 - 0.5) / 0.5


def test_a_wrong_shape_is_one_line(folder: Path) -> None:
    np.save(folder / "input.npy", np.zeros((3, 4, 6), np.uint8))
    done = run(folder, str(folder / "input.npy"))
    assert done.returncode == 1
    assert done.stderr.strip() == "input: the shape [1, 3, 4, 6] does not fit ['N', 3, 4, 5]"


def test_an_array_with_objects_is_not_unpickled(folder: Path) -> None:
    np.save(folder / "input.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    done = run(folder, str(folder / "input.npy"))
    assert done.returncode == 1
    assert "allow_pickle=False" in done.stderr
