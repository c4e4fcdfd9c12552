"""Feeding a network integers, so that the accelerator needs no thresholds for its input.

FINN builds an input quantizer as a layer of thresholds, 255 comparisons a value at 8 bits. The host can round
instead: the file's input becomes the integers themselves (annotated INT8, UINT8, ...), the quantizer becomes one
multiplication by its scale, and FINN's streamlining moves that into the thresholds of the first layer.

A bipolar input, -1 or 1, is sent as the bit 0 or 1: 2 q - 1. FINN cannot take -1 and 1 themselves where the weights
are bipolar too and something lies between input and layer, and kept as thresholds it fails with wider activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import BadInput

ANNOTATION = "finn_datatype"
QUANTIZERS = ("Quant", "BipolarQuant")
PASSED = ("Flatten", "Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class IntegerInput:
    """A network that takes integers q where the other took x, and computes with scale * q + offset.

    q = clip(round(x / scale), lowest, highest), rounded to the nearest even; of a bipolar input q = 1 where x >= 0,
    else 0. `model` is an onnx.ModelProto.
    """

    model: Any
    scale: float
    bits: int
    signed: bool
    lowest: int
    highest: int
    offset: float = 0.0
    bipolar: bool = False

    @property
    def dtype(self) -> str:
        """FINN's name of the integers: INT8, UINT8, ..., BINARY."""
        return "BINARY" if self.bipolar else f"{'' if self.signed else 'U'}INT{self.bits}"

    @property
    def formula(self) -> str:
        """How the host makes them, in plain text."""
        rounded = "q = clip(round_half_even(x / scale), lowest, highest)"
        return "q = 1 where x >= 0, else 0" if self.bipolar else rounded

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """The integers that the host sends for inputs x, as float32 holding whole numbers."""
        if self.bipolar:
            return (np.asarray(x) >= 0).astype(np.float32)
        steps = np.round(np.asarray(x, np.float32) / np.float32(self.scale))
        return np.clip(steps, self.lowest, self.highest).astype(np.float32)


def integer_input(model: Any) -> IntegerInput:
    """A copy of a QONNX onnx.ModelProto whose input is the integers of its input quantizer.

    Both compute the same float32 numbers: Quant(x) is quantize(x) times scale. BadInput where the first node
    that computes is no quantizer, or one with a zero point, a scale a channel, or rounding other than ROUND.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    name, quant = _input_quantizer(made.graph)
    found = (_bipolar if quant.op_type == "BipolarQuant" else _integers)(made, quant)
    _annotate(made.graph, name, found.dtype)
    return found


def _integers(model: Any, quant: Any) -> IntegerInput:
    """Of a Quant: its product with the scale is left in the graph."""
    import onnx

    settings = {item.name: onnx.helper.get_attribute_value(item) for item in quant.attribute}
    scale, zero, bits = (_constant(model.graph, tensor) for tensor in quant.input[1:4])
    _check(quant, settings.get("rounding_mode", b"ROUND").decode(), scale, zero)
    number, signed = int(bits.reshape(-1)[0]), bool(settings["signed"])
    lowest, highest = _bounds(number, signed, bool(settings.get("narrow", 0)))
    step = scale.reshape(-1)[0]
    _replace(model.graph, quant, {"Mul": step})
    return IntegerInput(model, float(step), number, signed, lowest, highest)


def _bipolar(model: Any, quant: Any) -> IntegerInput:
    """Of a BipolarQuant, which gives -scale or scale: 2 scale q - scale is left in the graph."""
    scale = _constant(model.graph, quant.input[1])
    _check(quant, "ROUND", scale, np.zeros(1))
    size = scale.reshape(-1)[0]
    _replace(model.graph, quant, {"Mul": 2 * size, "Add": -size})
    return IntegerInput(model, 2 * float(size), 1, False, 0, 1, offset=-float(size), bipolar=True)


def _input_quantizer(graph: Any) -> tuple[str, Any]:
    """The input's name and the quantizer that alone takes it, reshapes passed over."""
    fixed = {item.name for item in graph.initializer}
    name = tensor = next(item.name for item in graph.input if item.name not in fixed)
    while True:
        takers = [node for node in graph.node if tensor in node.input]
        if len(takers) != 1 or takers[0].op_type not in (*PASSED, *QUANTIZERS):
            told = ", ".join(f"{node.op_type} {node.name}" for node in takers) or "nothing"
            raise BadInput(
                f"integer input: the input '{name}' is taken by {told}, not by one input quantizer. Put an 8-bit "
                "quantizer first in the network."
            )
        if takers[0].op_type in QUANTIZERS:
            return name, takers[0]
        tensor = takers[0].output[0]


def _check(quant: Any, rounding: str, scale: np.ndarray, zero: np.ndarray) -> None:
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


def _replace(graph: Any, quant: Any, constants: dict[str, np.floating]) -> None:
    """Put operators with one constant each, in their order, in the quantizer's place."""
    import onnx

    place, tensor = list(graph.node).index(quant), quant.input[0]
    graph.node.remove(quant)
    for number, (kind, value) in enumerate(constants.items(), start=1):
        name = f"{quant.name}/{kind}"
        made = quant.output[0] if number == len(constants) else name
        graph.initializer.append(
            onnx.numpy_helper.from_array(np.asarray(value, np.float32), f"{name}/constant")
        )
        node = onnx.helper.make_node(kind, [tensor, f"{name}/constant"], [made], name=name)
        graph.node.insert(place + number - 1, node)
        tensor = made


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
