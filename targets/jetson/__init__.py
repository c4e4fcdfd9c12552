"""The Jetson target: ONNX files with explicit int8 pairs for TensorRT, whose engines are built on the board."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.target import Aims, Artefact, Audit, Board, Caps, Figure, Finding

if TYPE_CHECKING:
    from edgekit.quant.quantization import Quantization
    from targets.jetson.runtime import StandInRunner


class JetsonTarget:
    """TensorRT on Jetson boards; off the board its parser and builder check, and onnxruntime stands in for it."""

    name = "jetson"
    on_board = "run board/measure.py of the output folder on it, then edgekit profile DIR"

    def caps(self, board: Board) -> Caps:
        """The grid, operators and operator set that the board's TensorRT takes."""
        from targets.jetson.caps import caps_of

        return caps_of(board)

    def lint(self, model: Any, caps: Caps) -> list[Finding]:
        """What of a fp32 onnx.ModelProto TensorRT cannot run, or runs badly."""
        from targets.jetson.lint import lint

        return lint(model, caps)

    def export(self, model: Any, quantization: Quantization | None, board: Board, path: Path) -> Artefact:
        """Write a fused fp32 onnx.ModelProto for this board, in float or with int8 Q/DQ pairs."""
        from targets.jetson.export import export

        return export(model, quantization, board=board, caps=self.caps(board), path=path)

    def audit(self, path: Path) -> Audit:
        """What NVIDIA's builder runs in int8 and what not, why, and the remedy, for any tool's file."""
        from targets.jetson.audit import audit

        return audit(path)

    def accompany(
        self,
        folder: Path,
        graph: Any,
        golden: Mapping[str, Any],
        board: Board,
        aims: Aims,
        say: Callable[[str], None],
    ) -> None:
        """Write what the board needs beside the artefact: its scripts, golden vectors, a half-precision file."""
        from targets.jetson.folder import accompany

        accompany(folder, graph, golden, caps=self.caps(board))

    def figures(self, folder: Path, board: Board) -> tuple[Figure, ...]:
        """What the board measured, or that it has not."""
        from targets.jetson.figures import figures

        return figures(folder, board)

    def import_runtime(self) -> None:
        """Import what a runner needs."""
        import onnxruntime  # noqa: F401

    def runner(self, path: Path, *, threads: int = 1) -> StandInRunner:
        """The file, loaded in the runtime that stands in for TensorRT."""
        from targets.jetson.runtime import StandInRunner

        return StandInRunner(path, threads=threads)
