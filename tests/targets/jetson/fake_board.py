"""A board that is not there: a folder of models, the fakes of TensorRT and CUDA, and measure.py run on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
FAKES = HERE / "fakes"
BOARD = HERE.parents[2] / "targets" / "jetson" / "board"
VERSIONS = {"8.4": "8.4.1.5", "8.6": "8.6.2.3", "10.3": "10.3.0.30", "11.1": "11.1.0.106"}
ERROR = {"int8": 0.02, "fp16": 0.001, "fp32": 0.0}
QUICK = ("--seconds", "0.01", "--warmup", "1")
SHAPE = (1, 3, 8, 8)
CLASSES = 4


def old_python() -> str | None:
    """A Python 3.8, as JetPack 5 has; None where there is none."""
    places = sorted(Path.home().glob(".pyenv/versions/3.8*/bin/python3.8"))
    for name in ["python3.8", *map(str, places)]:
        try:
            done = subprocess.run(
                [name, "--version"], capture_output=True, text=True, timeout=20, check=False
            )
        except OSError:
            continue
        if done.returncode == 0 and "3.8" in done.stdout:
            return name
    return None


@cache
def cudart() -> Path:
    """The fake libcudart, compiled; a skip where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make the fake libcudart with")
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="edgekit-cudart-")) / "libcudart.so"
    words = [compiler, "-shared", "-fPIC", "-DPROPERTIES_V2", "-o", str(made), str(FAKES / "cudart.c")]
    subprocess.run(words, check=True, timeout=60)
    return made


def save_model(
    path: Path,
    *,
    pairs: bool = False,
    halves: bool = False,
    batch: int | str = 1,
    refuse: dict[str, Any] | None = None,
    kind: str = "FLOAT",
    seed: int = 0,
) -> Path:
    """A convolution, a mean and a flattening in real ONNX; its doc string tells the fakes what they would parse."""
    shape = [batch, *SHAPE[1:]]
    told_shape = [-1 if isinstance(axis, str) else axis for axis in shape]
    told = {
        "refuse": refuse,
        "pairs": pairs,
        "halves": halves,
        "inputs": [["x", told_shape, kind]],
        "outputs": [["y", [told_shape[0], CLASSES], "FLOAT"]],
        "layers": ["stem", "mean"],
    }
    weight = np.random.default_rng(seed).normal(0, 0.3, (CLASSES, 3, 3, 3)).astype(np.float32)
    nodes, constants = [], [numpy_helper.from_array(weight, "w")]
    source = "x"
    if pairs:
        constants += [
            numpy_helper.from_array(np.float32(0.02), "s"),
            numpy_helper.from_array(np.int8(0), "z"),
        ]
        for name in ("x", "w"):
            nodes.append(
                helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}_q"], name=f"{name}.q")
            )
            nodes.append(
                helper.make_node(
                    "DequantizeLinear", [f"{name}_q", "s", "z"], [f"{name}_dq"], name=f"{name}.dq"
                )
            )
        source = "x_dq"
    nodes += [
        helper.make_node("Conv", [source, "w_dq" if pairs else "w"], ["c"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="mean"),
        helper.make_node("Flatten", ["p"], ["y"], name="flat"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, CLASSES])],
        initializer=constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.doc_string = json.dumps({"fake": told})
    onnx.save(model, path)
    return path


def expected(x: np.ndarray) -> np.ndarray:
    """What the fakes compute, without a precision's error: y[k] = sum over i of x[i] ((i + k) mod 7 - 3) / n."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    place = np.arange(flat.shape[1])
    rows = [(flat * ((place + k) % 7 - 3)).sum(1) / flat.shape[1] for k in range(CLASSES)]
    return np.stack(rows, 1).astype(np.float32)


def save_golden(folder: Path, samples: int = 3) -> dict[str, np.ndarray]:
    """golden.npz of random inputs."""
    x = np.random.default_rng(7).normal(size=(samples, *SHAPE[1:])).astype(np.float32)
    golden = {"x": x, "y": expected(x)}
    np.savez(folder / "golden.npz", **golden)
    return golden


def save_root(
    root: Path, *, l4t: str = "36 (release), REVISION: 3.0", model: str = "NVIDIA Jetson Orin Nano"
) -> Path:
    """The files of /etc, /proc and /sys that measure.py reads."""
    files = {
        "etc/nv_tegra_release": f"# R{l4t}, GCID: 36191598, BOARD: generic, EABI: aarch64\n",
        "proc/device-tree/model": f"{model} Developer Kit\0",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "45500\n",
        "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "n/a\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1510400\n",
        "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@dataclass
class FakeBoard:
    """A folder of models and the environment of a board with one TensorRT."""

    folder: Path
    version: str = "8.6"
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.root = save_root(self.folder.parent / "root")
        self.programs = self.folder.parent / "bin"
        self.programs.mkdir(exist_ok=True)
        save_model(self.folder / "model.onnx", pairs=True)
        save_model(self.folder / "model_float.onnx")
        save_model(self.folder / "model_fp16.onnx", halves=True)
        save_golden(self.folder)
        (self.folder / "report.json").write_text(json.dumps({"board": "jetson-orin-nano"}))

    @property
    def notes(self) -> list[dict[str, Any]]:
        """What the fakes were asked, in order."""
        path = self.folder.parent / "notes"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def held(self) -> int:
        """How much of CUDA's the last run did not give back."""
        return int((self.folder.parent / "ledger").read_text())

    def program(self, name: str, script: str) -> Path:
        """A program on the board's PATH."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def with_trtexec(self) -> FakeBoard:
        """The board with a trtexec of its version on PATH."""
        self.program("trtexec", f'exec "{sys.executable}" "{FAKES / "fake_trtexec.py"}" "$@"')
        return self

    def settings(self, *, module: bool = True, **environment: str) -> dict[str, str]:
        """The environment of a run; without the module, Python finds no tensorrt."""
        base = {"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(self.folder.parent)}
        base |= {"FAKE_TENSORRT": VERSIONS[self.version], "FAKE_NOTES": str(self.folder.parent / "notes")}
        base |= {"FAKE_LEDGER": str(self.folder.parent / "ledger"), "PYTHONDONTWRITEBYTECODE": "1"}
        base |= {"EDGEKIT_CUDART": str(cudart()), "OMP_NUM_THREADS": "1"}
        return base | ({"PYTHONPATH": str(FAKES)} if module else {}) | self.environment | environment

    def command(self, *words: str) -> list[str]:
        """measure.py's command line, quick."""
        return [
            self.python,
            str(BOARD / "measure.py"),
            "--folder",
            str(self.folder),
            "--root",
            str(self.root),
            *QUICK,
            *words,
        ]

    def run(self, *words: str, module: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run measure.py to its end."""
        settings = self.settings(module=module, **environment)
        return subprocess.run(
            self.command(*words), env=settings, capture_output=True, text=True, timeout=120, check=False
        )

    def measured(self, *words: str, module: bool = True, **environment: str) -> dict[str, Any]:
        """Run measure.py, which must succeed, and read its result."""
        done = self.run(*words, module=module, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.result()

    def result(self) -> dict[str, Any]:
        """measured.json."""
        return json.loads((self.folder / "measured.json").read_text())

    def start(self, *words: str, module: bool = True, **environment: str) -> subprocess.Popen[str]:
        """Start measure.py in a process group of its own."""
        return subprocess.Popen(
            self.command(*words),
            env=self.settings(module=module, **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def engines(self) -> list[str]:
        """The files in engines/."""
        return sorted(os.listdir(self.folder / "engines"))


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a run that must end with exit code 2 and one line."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("measure: ")
    return lines[0]
