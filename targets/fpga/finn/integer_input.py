"""Feeding a network integers, so that the accelerator needs no thresholds for its input.

FINN builds an input quantizer as a layer of thresholds, 255 comparisons a value at 8 bits. The host can round
instead: the file's input becomes the integers themselves (annotated INT8, UINT8, ...), the quantizer becomes one
multiplication by its scale, and FINN's streamlining moves that into the thresholds of the first layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import BadInput

ANNOTATION = "finn_datatype"
PASSED = ("Flatten", "Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class IntegerInput:
    """A network that takes integers q where the other took x: q = clip(round(x / scale), lowest, highest).

    Rounding is to the nearest even. `model` is an onnx.ModelProto.
    """

    model: Any
    scale: float
    bits: int
    signed: bool
    lowest: int
    highest: int

    @property
    def dtype(self) -> str:
        """FINN's name of the integers: INT8, UINT8, ..."""
        return f"{'' if self.signed else 'U'}INT{self.bits}"

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """The integers that the host sends for inputs x, as float32 holding whole numbers."""
        steps = np.round(np.asarray(x, np.float32) / np.float32(self.scale))
        return np.clip(steps, self.lowest, self.highest).astype(np.float32)


def integer_input(model: Any) -> IntegerInput:
    """A copy of a QONNX onnx.ModelProto whose input is the integers of its input quantizer.

    Both compute the same float32 numbers: Quant(x) is quantize(x) times scale. BadInput where the first node
    that computes is no Quant, or one with a zero point, a scale a channel, or rounding other than ROUND.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    name, quant = _input_quantizer(graph)
    settings = {item.name: onnx.helper.get_attribute_value(item) for item in quant.attribute}
    scale, zero, bits = (_constant(graph, tensor) for tensor in quant.input[1:4])
    _check(quant, settings, scale, zero)
    number = int(bits.reshape(-1)[0])
    lowest, highest = _bounds(number, bool(settings["signed"]), bool(settings.get("narrow", 0)))
    _replace(graph, quant)
    found = IntegerInput(made, float(scale.reshape(-1)[0]), number, bool(settings["signed"]), lowest, highest)
    _annotate(graph, name, found.dtype)
    return found


def _input_quantizer(graph: Any) -> tuple[str, Any]:
    """The input's name and the Quant node that alone takes it, reshapes passed over."""
    fixed = {item.name for item in graph.initializer}
    name = tensor = next(item.name for item in graph.input if item.name not in fixed)
    while True:
        takers = [node for node in graph.node if tensor in node.input]
        if len(takers) != 1 or takers[0].op_type not in (*PASSED, "Quant"):
            told = ", ".join(f"{node.op_type} {node.name}" for node in takers) or "nothing"
            raise BadInput(
                f"integer input: the input '{name}' is taken by {told}, not by one input quantizer. Put an 8-bit "
                "quantizer first in the network."
            )
        if takers[0].op_type == "Quant":
            return name, takers[0]
        tensor = takers[0].output[0]


def _check(quant: Any, settings: dict[str, Any], scale: np.ndarray, zero: np.ndarray) -> None:
    rounding = settings.get("rounding_mode", b"ROUND").decode()
    why = (
        "has a scale a channel"
        if scale.size != 1
        else "has a zero point"
        if zero.any()
        else f"rounds by {rounding}"
        if rounding.upper() not in ("ROUND", "HALF_EVEN")
        else ""
    )
    if why:
        raise BadInput(
            f"integer input: the input quantizer {quant.name} {why}; the host rounds to the nearest on one scale "
            "without offset. Train it per tensor, symmetric and rounding to the nearest."
        )


def _replace(graph: Any, quant: Any) -> None:
    """Put a multiplication by the scale in the quantizer's place."""
    import onnx

    name = f"{quant.name}/scale"
    scale = np.float32(_constant(graph, quant.input[1]).reshape(-1)[0])
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(scale), name))
    node = onnx.helper.make_node("Mul", [quant.input[0], name], [quant.output[0]], name=f"{quant.name}/Mul")
    place = list(graph.node).index(quant)
    graph.node.remove(quant)
    graph.node.insert(place, node)


def _annotate(graph: Any, name: str, dtype: str) -> None:
    """QONNX's note that a float tensor holds whole numbers of a type."""
    note = graph.quantization_annotation.add(tensor_name=name)
    note.quant_parameter_tensor_names.add(key=ANNOTATION, value=dtype)


def _constant(graph: Any, name: str) -> np.ndarray:
    import onnx

    for item in graph.initializer:
        if item.name == name:
            return onnx.numpy_helper.to_array(item)
    for node in graph.node:
        if name in node.output and node.op_type == "Constant":
            return onnx.numpy_helper.to_array(node.attribute[0].t)
    raise BadInput(f"integer input: the quantizer's parameter '{name}' is computed. Fold constants first.")


def _bounds(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The least and the greatest integer; a narrow grid leaves out one end, as QONNX does."""
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow
