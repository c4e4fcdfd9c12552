"""Writing an artefact for FINN: a QONNX graph, or the float graph it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edgekit.errors import BadInput
from edgekit.target import Artefact, Board
from targets.cpu.export import write
from targets.fpga.audit import precision_of

if TYPE_CHECKING:
    from edgekit.quant.quantization import Quantization


def export(
    model: onnx.ModelProto, quantization: Quantization | None, *, board: Board, path: Path
) -> Artefact:
    """Write a QONNX graph (or a float one) whole or not at all; its precision reads `W4A4`, `+fp32` where mixed.

    BadInput for a quantization: QONNX carries its own, trained at the board's bits.
    """
    if quantization is not None:
        raise BadInput(
            f"export: {board.name}: FINN reads QONNX, which holds its quantizers, not scales for a float graph. "
            "Train at low bits and export that (targets.fpga.qonnx_file.to_qonnx)."
        )
    write(model, Path(path))
    return Artefact(Path(path), "fpga", board.name, precision_of(model))
