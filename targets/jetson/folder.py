"""What a board without edgekit gets: scripts that build and measure there, golden vectors, a half-precision file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx

from edgekit.export.file import write
from edgekit.export.opset import to_opset
from edgekit.target import Board, Caps
from targets.jetson.runtime import StandInRunner

SCRIPTS = ("measure.py", "build_engine.sh")


def accompany(folder: Path, graph: onnx.ModelProto, golden: Mapping[str, np.ndarray], *, caps: Caps) -> None:
    """Write `board/`, golden.npz {name: array of inputs and outputs} and model_fp16.onnx into an output folder.

    Golden outputs are those of the file's own arithmetic, node by node, whoever ran it before. model_fp16.onnx is for
    TensorRT 11 and later, where a file's own types are the engine's.
    """
    from edgekit.quant.half import to_fp16

    place = folder / "board"
    place.mkdir(exist_ok=True)
    for name in SCRIPTS:
        shutil.copyfile(Path(__file__).parent / "board" / name, place / name)
        (place / name).chmod(0o755)
    stand_in = StandInRunner(folder / "model.onnx")
    inputs = {spec.name: golden[spec.name] for spec in stand_in.signature.inputs}
    with (folder / "golden.npz").open("wb") as file:
        np.savez(file, **{**golden, **stand_in.run(inputs)})  # type: ignore[arg-type]  # numpy's stub: its flag
    write(to_fp16(to_opset(graph, caps.opset)), folder / "model_fp16.onnx")


def measure_here(folder: Path, board: Board, say: Callable[[str], None]) -> None:
    """Run board/measure.py of a folder on this machine, which is the board; what failed is said, and is in the figures.

    A process of its own, as on a board without edgekit: TensorRT keeps the first logger of a process.
    """
    command = [
        sys.executable,
        str(folder / "board" / "measure.py"),
        "--folder",
        str(folder),
        "--board",
        board.name,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            say(line.rstrip())
