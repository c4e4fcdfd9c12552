"""Files made by another tool, onnxruntime's own quantizer, as a user would bring them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class Batches(CalibrationDataReader):
    """A few random batches."""

    def __init__(self, name: str, shape: tuple[int, ...], count: int = 4) -> None:
        chance = np.random.default_rng(0)
        self._left = iter([{name: chance.normal(size=shape).astype(np.float32)} for _ in range(count)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def quantized(
    model: onnx.ModelProto, path: Path, *, signed: bool, operator_form: bool = False, per_channel: bool = True
) -> Path:
    """The model quantized by onnxruntime with int8 weights and signed or unsigned activations."""
    logging.getLogger().setLevel(logging.ERROR)
    source = path.with_name(f"{path.stem}-fp32.onnx")
    onnx.save(model, source)
    given = model.graph.input[0]
    shape = tuple(axis.dim_value or 1 for axis in given.type.tensor_type.shape.dim)
    quantize_static(
        source,
        path,
        Batches(given.name, shape),
        per_channel=per_channel,
        quant_format=QuantFormat.QOperator if operator_form else QuantFormat.QDQ,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path
