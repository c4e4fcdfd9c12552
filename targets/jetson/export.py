"""Writing an artefact for TensorRT: float, or explicit int8 Q/DQ pairs, in an operator set that the board reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edgekit.errors import BadInput
from edgekit.export.file import write
from edgekit.export.opset import to_opset
from edgekit.target import Artefact, Board, Caps
from targets.jetson.forms import wrong_forms

if TYPE_CHECKING:
    from edgekit.quant.quantization import Quantization


def export(
    model: onnx.ModelProto, quantization: Quantization | None, *, board: Board, caps: Caps, path: Path
) -> Artefact:
    """Write a fused fp32 graph to `path` (fp16 is the engine builder's, so that the file stays float).

    BadInput where the board has no such precision, or an operator is newer than its TensorRT.
    """
    precision = "fp32" if quantization is None else quantization.precision
    if precision not in caps.precisions:
        raise BadInput(
            f"export: {board.name} has no {precision} kernels ({', '.join(caps.precisions)}). Choose precision: fp16."
        )
    made = to_opset(_quantized(model, quantization, caps), caps.opset)
    wrong = wrong_forms(made, newest_opset=caps.opset)
    if wrong:
        first = wrong[0]
        raise BadInput(f"export: '{first.node}': {first.what}. {first.remedy}")
    write(made, Path(path))
    return Artefact(Path(path), "jetson", board.name, _named(made, precision))


def _quantized(model: onnx.ModelProto, quantization: Quantization | None, caps: Caps) -> onnx.ModelProto:
    if quantization is None or quantization.precision == "fp16":
        return model
    from edgekit.quant.writer import write_qdq

    return write_qdq(model, quantization, caps)


def _named(model: onnx.ModelProto, precision: str) -> str:
    """int8, or int8+fp32 where a layer with weights takes something that is not dequantized."""
    if precision != "int8":
        return precision
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    heavy = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul", "ConvTranspose")]
    integer = all(makers.get(node.input[0]) == "DequantizeLinear" for node in heavy)
    return "int8" if integer else "int8+fp32"
