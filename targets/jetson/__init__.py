"""The Jetson target: ONNX files with explicit int8 pairs for TensorRT, whose engines are built on the board."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.target import Aims, Artefact, Audit, Board, Caps, Figure, Finding

if TYPE_CHECKING:
    from edgekit.quant.quantization import Quantization
    from targets.jetson.engine import EngineRunner
    from targets.jetson.runtime import StandInRunner


class JetsonTarget:
    """TensorRT on Jetson boards: its engines where it and a GPU are, else onnxruntime on the same file.

    Off the board NVIDIA's parser and builder check what is written.
    """

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
        """Write what the board needs beside the artefact; on the board itself, measure its engines, too."""
        from targets.jetson.folder import accompany, measure_here

        accompany(folder, graph, golden, caps=self.caps(board))
        if self.is_here(board):
            measure_here(folder, board, say)

    def figures(self, folder: Path, board: Board) -> tuple[Figure, ...]:
        """What the board measured, or that it has not."""
        from targets.jetson.figures import figures

        return figures(folder, board)

    def is_here(self, board: Board) -> bool:
        """Whether this machine is that board, with its TensorRT and its GPU at hand."""
        from targets.jetson.engine import Here, here

        found = here()
        return isinstance(found, Here) and found.is_board(board)

    def import_runtime(self) -> None:
        """Import what a runner needs."""
        from targets.jetson.engine import Here, here

        if not isinstance(here(), Here):
            import onnxruntime  # noqa: F401

    def runner(self, path: Path, *, threads: int = 1) -> EngineRunner | StandInRunner:
        """The file as an engine where TensorRT and a GPU are, else in the runtime that stands in for it."""
        from targets.jetson.engine import EngineRunner, Here, here
        from targets.jetson.runtime import StandInRunner

        return (EngineRunner if isinstance(here(), Here) else StandInRunner)(path, threads=threads)
