"""The integer reference: what a Q/DQ graph computes when its layers really run in integers, in numpy alone.

A tensor is `Integers` (real = scale * (q - zero), int64) from its DequantizeLinear on. Layers multiply and
add those integers; QuantizeLinear multiplies the sum by scale / scale_out, rounds half to even and clips. A
runtime may differ by one step where it rounds a product on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.errors import BadInput
from edgekit.quant import reference_operators as operators

Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Integers:
    """int64 `values`, with scale and zero point that broadcast against them."""

    values: np.ndarray
    scale: np.ndarray
    zero: np.ndarray | int = 0

    @property
    def centered(self) -> np.ndarray:
        """q - zero: the real value in steps of the scale."""
        return self.values - self.zero

    def real(self) -> np.ndarray:
        """The value as float64."""
        return np.asarray(self.centered * self.scale)


Value = np.ndarray | Integers
Rule = Callable[[list[Any], Attributes], Any]


class IntegerReference:
    """Runs a Q/DQ graph in integers: `IntegerReference(model).run({"x": batch})["y"]`.

    >>> reference = IntegerReference(onnx.load("model.onnx"))       # doctest: +SKIP
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        self.opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 21)
        for node in model.graph.node:
            if node.op_type not in _RULES:
                raise BadInput(
                    f"reference: node '{node.name}': the operator {node.op_type} is not known. Compare "
                    "this model in onnxruntime alone."
                )

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        *,
        also: tuple[str, ...] = (),
        given: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs by name as float32, and tensors named in `also` (integers of a QuantizeLinear as int64).

        Nodes that read a tensor in `given` read that instead of what was computed here, so that each layer
        can be compared with another runtime's on that runtime's own inputs.
        """
        for item in self.model.graph.input:
            if item.name not in feeds and item.name not in self.constants:
                raise BadInput(f"reference: the input '{item.name}' is missing. Give every input.")
        computed: dict[str, Any] = {"": None, **self.constants, **feeds}
        values = dict(computed)
        for node in self.model.graph.node:
            attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            result = _RULES[node.op_type](
                [values[name] for name in node.input], {**attributes, "opset": self.opset}
            )
            computed[node.output[0]] = result
            values[node.output[0]] = (given or {}).get(node.output[0], result)
        wanted = [*(item.name for item in self.model.graph.output), *also]
        return {name: _plain(computed[name]) for name in wanted}


def _plain(value: Value) -> np.ndarray:
    array = real(value)
    return np.asarray(array, np.float32 if array.dtype == np.float64 else None)


def real(value: Any) -> Any:
    """Any value as an array of reals; None stays."""
    return value.real() if isinstance(value, Integers) else value


def _quantize(inputs: list[Any], attributes: Attributes) -> np.ndarray:
    value, scale = inputs[0], np.asarray(inputs[1])
    zero = (
        np.asarray(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else np.zeros_like(scale, np.uint8)
    )
    limits = np.iinfo(zero.dtype)
    dims = (value.values if isinstance(value, Integers) else value).ndim
    scale, shift = (_along(item, dims, attributes.get("axis", 1)) for item in (scale, zero))
    whole = isinstance(value, Integers)
    steps = value.centered * (value.scale / scale.astype(np.float64)) if whole else value / scale
    return np.asarray(np.clip(np.rint(steps) + shift.astype(np.int64), limits.min, limits.max), np.int64)


def _dequantize(inputs: list[Any], attributes: Attributes) -> Integers:
    values, axis = np.asarray(inputs[0]), attributes.get("axis", 1)
    zero = np.asarray(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else np.zeros(1, np.int64)
    return Integers(
        values.astype(np.int64),
        _along(np.asarray(inputs[1]), values.ndim, axis).astype(np.float64),
        _along(zero, values.ndim, axis).astype(np.int64),
    )


def _along(values: np.ndarray, dims: int, axis: int) -> np.ndarray:
    if values.size == 1:
        return values.reshape(())
    shape = [1] * dims
    shape[axis] = values.size
    return values.reshape(shape)


def _layer(
    product: Callable[[np.ndarray, np.ndarray, Attributes], np.ndarray], channels: Callable[..., int]
) -> Rule:
    """A rule for a layer with weight and bias: in integers where both operands are, with an int32 bias."""

    def rule(inputs: list[Any], attributes: Attributes) -> Value:
        x, weight = inputs[0], inputs[1]
        bias = inputs[2] if len(inputs) > 2 else None
        if not (isinstance(x, Integers) and isinstance(weight, Integers)):
            total = product(_float(x), _float(weight), attributes)
            return total if bias is None else total + _channels(_float(bias), total.ndim, channels(total))
        total = product(x.centered, weight.centered, attributes)
        axis = channels(total)
        scale = _channels(np.ravel(x.scale * weight.scale), total.ndim, axis)
        if bias is not None:
            steps = (
                bias.centered
                if isinstance(bias, Integers)
                else np.rint(bias / scale.ravel()).astype(np.int64)
            )
            total = total + _channels(steps, total.ndim, axis)
        return Integers(total, scale)

    return rule


def _channels(values: np.ndarray, dims: int, axis: int) -> np.ndarray:
    return _along(np.ravel(values), dims, axis) if values.ndim <= 1 else values


def _float(value: Any) -> np.ndarray:
    return np.asarray(real(value), np.float64)


def _gemm(inputs: list[Any], attributes: Attributes) -> Value:
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        raise BadInput(
            "reference: a Gemm has alpha or beta other than 1. Compare this model in onnxruntime alone."
        )
    x, weight, *bias = inputs
    x = _turn(x) if attributes.get("transA") else x
    weight = _turn(weight) if attributes.get("transB") else weight
    result: Value = _MATMUL([x, weight, *bias], attributes)
    return result


def _turn(value: Any) -> Value:
    if not isinstance(value, Integers):
        return np.transpose(value)
    return Integers(value.values.T, value.scale.T, np.transpose(value.zero))


def _apply(function: Callable[..., np.ndarray], value: Value, *args: Any) -> Value:
    """Move values without computing; a scale per channel moves along."""
    if not isinstance(value, Integers):
        return function(value, *args)
    moved = replace(value, values=function(value.values, *args))
    if np.size(value.scale) == 1:
        return moved
    spread = np.broadcast_to(value.scale, value.values.shape), np.broadcast_to(value.zero, value.values.shape)
    return Integers(moved.values, function(spread[0], *args), function(spread[1], *args))


def _move(function: Callable[..., np.ndarray]) -> Rule:
    def rule(inputs: list[Any], attributes: Attributes) -> Value:
        return _apply(lambda values: function([values, *map(real, inputs[1:])], attributes), inputs[0])

    return rule


def _clamp(limits: Callable[[list[Any], Attributes], tuple[Any, Any]]) -> Rule:
    """Clip in steps; the limits are rounded to the scale."""

    def rule(inputs: list[Any], attributes: Attributes) -> Value:
        low, high = (_float(limit) for limit in limits(inputs, attributes))
        if not isinstance(inputs[0], Integers):
            return np.asarray(np.clip(inputs[0], low, high))
        one = inputs[0]
        return replace(
            one,
            values=np.clip(one.centered, np.rint(low / one.scale), np.rint(high / one.scale)).astype(np.int64)
            + one.zero,
        )

    return rule


def _multiply(inputs: list[Any], attributes: Attributes) -> Value:
    left, right = inputs
    if isinstance(left, Integers) and isinstance(right, Integers):
        return Integers(left.centered * right.centered, left.scale * right.scale)
    return np.asarray(_float(left) * _float(right))


def _average(function: Callable[[list[Any], Attributes], tuple[np.ndarray, np.ndarray]]) -> Rule:
    """Sum the steps and divide by the count in the scale."""

    def rule(inputs: list[Any], attributes: Attributes) -> Value:
        one = inputs[0]
        if isinstance(one, Integers):
            total, count = function([one.centered, *map(real, inputs[1:])], attributes)
            return Integers(total, one.scale / count)
        total, count = function([_float(one), *map(real, inputs[1:])], attributes)
        return np.asarray(total / count)

    return rule


def _through_float(function: Callable[..., np.ndarray]) -> Rule:
    """Operators without integer arithmetic: real values in and out (a look-up table in a runtime)."""
    return lambda inputs, attributes: function([real(value) for value in inputs], attributes)


_MATMUL = _layer(operators.matmul, lambda total: total.ndim - 1)
_RULES: Mapping[str, Rule] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Conv": _layer(operators.conv, lambda total: 1),
    "Gemm": _gemm,
    "MatMul": _MATMUL,
    "Mul": _multiply,
    "Relu": _clamp(lambda inputs, attributes: (0.0, np.inf)),
    "Clip": _clamp(operators.clip_limits),
    "AveragePool": _average(operators.average_pool),
    "GlobalAveragePool": _average(operators.global_sum),
    "ReduceMean": _average(operators.reduce_sum),
    **{name: _move(function) for name, function in operators.MOVING.items()},
    **{name: _through_float(function) for name, function in operators.FLOAT.items()},
}
