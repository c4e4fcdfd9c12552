"""Running a file for TensorRT where there is no TensorRT: the same Q/DQ arithmetic in onnxruntime."""

from __future__ import annotations

from pathlib import Path

from targets.cpu.runtime import OrtRunner
from targets.jetson.board.measure import has_halves

ROUNDS_BIAS = "WeightBiasQuantization"


class StandInRunner(OrtRunner):
    """The file's own arithmetic, node by node: rounding as it is written, sums in float32.

    onnxruntime's integer kernels are left out: for int8 weights and activations they saturate on some x86 CPUs. In a
    file with float16 its rounding of a bias is left out, too: the step scale_x * scale_w underflows there.
    """

    of = "artefact in onnxruntime"

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        without = (ROUNDS_BIAS,) if Path(path).is_file() and has_halves(Path(path)) else ()
        super().__init__(path, threads=threads, optimization="basic", without=without)
