"""What a board without edgekit gets: scripts that build and measure there, golden vectors, a half-precision file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from edgekit.export.file import write
from edgekit.export.opset import to_opset
from edgekit.target import Caps

SCRIPTS = ("measure.py", "build_engine.sh")


def accompany(folder: Path, graph: onnx.ModelProto, golden: Mapping[str, np.ndarray], *, caps: Caps) -> None:
    """Write `board/`, golden.npz {name: array of inputs and outputs} and model_fp16.onnx into an output folder.

    model_fp16.onnx is for TensorRT 11 and later, where a file's own types are the engine's.
    """
    from edgekit.quant.half import to_fp16

    place = folder / "board"
    place.mkdir(exist_ok=True)
    for name in SCRIPTS:
        shutil.copyfile(Path(__file__).parent / "board" / name, place / name)
        (place / name).chmod(0o755)
    with (folder / "golden.npz").open("wb") as file:
        np.savez(file, **dict(golden))  # type: ignore[arg-type]  # numpy's stub takes the names for its flag
    write(to_fp16(to_opset(graph, caps.opset)), folder / "model_fp16.onnx")
