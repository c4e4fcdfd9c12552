"""The CPU target: ONNX files for onnxruntime on x86 and Arm Linux."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.target import Artefact, Audit, Board, Caps, Finding

if TYPE_CHECKING:
    from edgekit.profile.executed import Execution
    from edgekit.quant.quantization import Quantization
    from targets.cpu.runtime import OrtRunner


class CpuTarget:
    """onnxruntime on the CPU; parts are imported when used, so a board needs onnxruntime alone."""

    name = "cpu"

    def caps(self, board: Board) -> Caps:
        """The grid, operators and channel multiple that the board's instruction set makes."""
        from targets.cpu.caps import caps_of

        return caps_of(board)

    def lint(self, model: Any, caps: Caps) -> list[Finding]:
        """What of a fp32 onnx.ModelProto onnxruntime cannot run, or runs badly."""
        from targets.cpu.lint import lint

        return lint(model, caps)

    def export(self, model: Any, quantization: Quantization | None, board: Board, path: Path) -> Artefact:
        """Write a fused fp32 onnx.ModelProto for this board: as it is, in fp16, or with Q/DQ pairs."""
        from targets.cpu.export import export

        return export(model, quantization, board=board, caps=self.caps(board), path=path)

    def audit(self, path: Path) -> Audit:
        """What onnxruntime runs in integers and what not, why, and the remedy, for any tool's file."""
        from targets.cpu.audit import audit

        return audit(path)

    def guard(self, path: Path, feeds: Any) -> list[Finding]:
        """Why the file's latency may not be that of a trained network: denormals, unsettled BatchNorm."""
        from targets.cpu.guard import guard

        return guard(path, feeds)

    def import_runtime(self) -> None:
        """Import what a runner needs, so that a measurement of memory can leave the library itself out."""
        import onnxruntime  # noqa: F401

    def optimize(self, path: Path, optimized: Path) -> None:
        """Write the graph that onnxruntime really runs of a file here, to be run with optimization "none"."""
        from targets.cpu.runtime import OrtRunner

        OrtRunner(path, optimized_path=optimized)

    def execution(self, path: Path, feeds: Any, *, threads: int = 1, seconds: float = 2.0) -> Execution:
        """The nodes that onnxruntime runs of a file here, with their times, tensors and work."""
        from targets.cpu.execution import execution

        return execution(path, feeds, threads=threads, seconds=seconds)

    def runner(
        self, path: Path, *, threads: int = 1, flush_to_zero: bool = False, optimization: str = "all"
    ) -> OrtRunner:
        """The file, loaded."""
        from targets.cpu.runtime import OrtRunner

        return OrtRunner(path, threads=threads, flush_to_zero=flush_to_zero, optimization=optimization)
