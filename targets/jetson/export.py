"""Writing an artefact for TensorRT: float, or explicit int8 Q/DQ pairs, in an operator set that the board reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edgekit.errors import BadInput
from edgekit.export.file import write
from edgekit.export.opset import to_opset
from edgekit.quant.half import to_fp16
from edgekit.target import Artefact, Board, Caps
from targets.jetson.caps import PRECISION_KEY, is_typed
from targets.jetson.forms import wrong_forms
from targets.jetson.half import half_pairs

if TYPE_CHECKING:
    from edgekit.quant.quantization import Quantization


def export(
    model: onnx.ModelProto, quantization: Quantization | None, *, board: Board, caps: Caps, path: Path
) -> Artefact:
    """Write a fused fp32 graph to `path`.

    Before TensorRT 11 fp16 is the engine builder's choice, so that floats stay float32; from 11 on a file's own types
    are the engine's, so that all but a fp32 file has its floats in float16. BadInput where the board has no such
    precision, or an operator is newer than its TensorRT.
    """
    precision = "fp32" if quantization is None else quantization.precision
    if precision not in caps.precisions:
        raise BadInput(
            f"export: {board.name} has no {precision} kernels ({', '.join(caps.precisions)}). Choose precision: fp16."
        )
    halves = precision != "fp32" and is_typed(board)
    made = _written(model, quantization, caps, halves=halves)
    wrong = wrong_forms(made, newest_opset=caps.opset)
    if wrong:
        first = wrong[0]
        raise BadInput(f"export: '{first.node}': {first.what}. {first.remedy}")
    named = _named(made, precision, halves=halves)
    made.metadata_props.add(key=PRECISION_KEY, value=named)
    write(made, Path(path))
    return Artefact(Path(path), "jetson", board.name, named)


def _written(
    model: onnx.ModelProto, quantization: Quantization | None, caps: Caps, *, halves: bool
) -> onnx.ModelProto:
    if quantization is None or quantization.precision == "fp16":
        made = to_opset(model, caps.opset)
        return to_fp16(made) if halves else made
    from edgekit.quant.writer import write_qdq

    made = write_qdq(model, quantization, caps)
    return half_pairs(made, caps.opset) if halves else to_opset(made, caps.opset)


def _named(model: onnx.ModelProto, precision: str, *, halves: bool) -> str:
    """int8, or with fp16 or fp32 where a layer with weights takes something that is not dequantized."""
    if precision != "int8":
        return precision
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    heavy = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul", "ConvTranspose")]
    if all(makers.get(node.input[0]) == "DequantizeLinear" for node in heavy):
        return "int8"
    return "int8+fp16" if halves else "int8+fp32"
