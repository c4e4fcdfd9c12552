"""The FPGA target: QONNX files, from which FINN builds a dataflow accelerator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.target import Aims, Artefact, Audit, Board, Caps, Figure, Finding

if TYPE_CHECKING:
    from edgekit.quant.quantization import Quantization
    from targets.fpga.runtime import QonnxRunner


class FpgaTarget:
    """FINN on an FPGA; parts are imported when used, so a board needs onnx and onnxruntime alone."""

    name = "fpga"
    on_board = "build finn_build with FINN and Vivado, run its driver on the board, then edgekit profile DIR"

    def caps(self, board: Board) -> Caps:
        """Grids of up to 8 bits, the operators FINN has hardware for, BatchNorm unfused."""
        from targets.fpga.caps import caps_of

        return caps_of(board)

    def lint(self, model: Any, caps: Caps) -> list[Finding]:
        """What of a fp32 onnx.ModelProto has no low-bit form for FINN, and the nearest that has."""
        from targets.fpga.lint import lint

        return lint(model, caps)

    def export(self, model: Any, quantization: Quantization | None, board: Board, path: Path) -> Artefact:
        """Write a ready QONNX onnx.ModelProto (`qonnx_file.to_qonnx`), or the float graph of the baseline."""
        from targets.fpga.export import export

        return export(model, quantization, board=board, path=path)

    def graph(self, model: Any, example: Mapping[str, Any], outputs: list[str]) -> Any:
        """QONNX of a network that was swapped for low bits, else its fp32 graph."""
        if any(type(module).__module__.startswith("brevitas") for module in model.modules()):
            from targets.fpga.qonnx_file import to_qonnx

            return to_qonnx(model, example, output_names=tuple(outputs))
        from edgekit.export.to_onnx import to_onnx

        return to_onnx(model, dict(example), output_names=outputs)

    def check(self, board: Board, aims: Aims, graph: Any) -> None:
        """BadInput where neither a frame rate nor a folding is asked for, or the graph makes no build folder."""
        from targets.fpga.folder import check

        check(board, aims, graph)

    def choose(
        self,
        folder: Path,
        networks: Mapping[str, Callable[[], Any]],
        board: Board,
        aims: Aims,
        say: Callable[[str], None],
    ) -> dict[str, Any]:
        """The first of several untrained networks that FINN's estimates find within the aims."""
        from targets.fpga.widths import choose

        return choose(folder, networks, board, aims, say)

    def accompany(
        self,
        folder: Path,
        graph: Any,
        golden: Mapping[str, Any],
        board: Board,
        aims: Aims,
        say: Callable[[str], None],
    ) -> None:
        """Write FINN's build folder, and estimate it where FINN is installed."""
        from targets.fpga.folder import accompany

        accompany(folder, golden, board, aims, say)

    def figures(self, folder: Path, board: Board) -> tuple[Figure, ...]:
        """Rate, latency and resources: estimated, synthesised, measured."""
        from targets.fpga.figures import figures

        return figures(folder, board)

    def audit(self, path: Path) -> Audit:
        """What of a QONNX file is computed in integers, with how many bits, and what stays in float."""
        from targets.fpga.audit import audit

        return audit(path)

    def import_runtime(self) -> None:
        """Import what a runner needs, so that a measurement of memory can leave the library itself out."""
        import onnxruntime  # noqa: F401

    def runner(self, path: Path, *, threads: int = 1) -> QonnxRunner:
        """The file, loaded, with the FPGA's numbers on this CPU."""
        from targets.fpga.runtime import QonnxRunner

        return QonnxRunner(path, threads=threads)
