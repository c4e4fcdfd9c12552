"""Writing an artefact for onnxruntime: the fp32 graph as it is, in fp16, or with Q/DQ pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edgekit.errors import BadInput
from edgekit.export.file import write
from edgekit.target import Artefact, Board, Caps
from targets.cpu.nodes import HEAVY, Graph

if TYPE_CHECKING:
    from edgekit.quant.quantization import Quantization


def export(
    model: onnx.ModelProto, quantization: Quantization | None, *, board: Board, caps: Caps, path: Path
) -> Artefact:
    """Write a fused fp32 graph to `path` in the precision that `quantization` asks for (None: fp32).

    The file appears whole or not at all. BadInput where the disk is full, the folder cannot be written, or
    the model is past ONNX's 2 GiB.
    """
    made = _in_precision(model, quantization, caps)
    write(made, Path(path))
    precision = quantization.precision if quantization is not None else "fp32"
    if precision == "int8" and _holds_float_layers(made):
        precision = "int8+fp32"
    return Artefact(Path(path), "cpu", board.name, precision)


def _in_precision(model: onnx.ModelProto, quantization: Quantization | None, caps: Caps) -> onnx.ModelProto:
    if quantization is None:
        return model
    if quantization.precision not in caps.precisions:
        raise BadInput(
            f"export: the precision '{quantization.precision}' is not one of this board's "
            f"({', '.join(caps.precisions)})."
        )
    if quantization.precision == "fp16":
        from edgekit.quant.half import to_fp16

        return to_fp16(model)
    from edgekit.quant.writer import write_qdq

    return write_qdq(model, quantization, caps)


def _holds_float_layers(model: onnx.ModelProto) -> bool:
    """Whether a convolution or matrix product takes something that is not dequantized."""
    graph = Graph(model)
    makers = [graph.maker(node.inputs[0]) for node in graph.compute() if node.family in HEAVY]
    return any(maker is None or maker.operator != "DequantizeLinear" for maker in makers)
