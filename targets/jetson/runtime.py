"""Running a file for TensorRT where there is no TensorRT: the same Q/DQ arithmetic in onnxruntime."""

from __future__ import annotations

from pathlib import Path

from targets.cpu.runtime import OrtRunner


class StandInRunner(OrtRunner):
    """The file's own arithmetic, node by node: rounding as it is written, sums in float32.

    onnxruntime's integer kernels are left out: for int8 weights and activations they saturate on some x86 CPUs.
    """

    of = "artefact in onnxruntime"

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        super().__init__(path, threads=threads, optimization="basic")
