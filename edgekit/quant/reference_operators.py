"""ONNX operators in numpy, exact for integers: what the integer reference is made of.

Arrays are [N, C, spatial...].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import numpy_helper

Attributes = Mapping[str, Any]
Operator = Callable[[list[np.ndarray], Attributes], np.ndarray]


def matmul(left: np.ndarray, right: np.ndarray, attributes: Attributes | None = None) -> np.ndarray:
    """left @ right; integers go through float64, exact below 2^53, where BLAS is."""
    total = np.matmul(left.astype(np.float64), right.astype(np.float64))
    return np.asarray(np.rint(total), np.int64) if left.dtype.kind == "i" else np.asarray(total)


def conv(x: np.ndarray, weight: np.ndarray, attributes: Attributes) -> np.ndarray:
    """Convolution of x [N, C, ...] with weight [O, C / group, kernel...]."""
    group, kernel = attributes.get("group", 1), weight.shape[2:]
    seen = windows(x, kernel, attributes, fill=0)
    batch, channels, spatial = x.shape[0], x.shape[1] // group, seen.shape[2 : 2 + len(kernel)]
    seen = seen.reshape(batch, group, channels, int(np.prod(spatial)), -1).transpose(1, 0, 3, 2, 4)
    rows = seen.reshape(group, batch * int(np.prod(spatial)), -1)
    columns = weight.reshape(group, weight.shape[0] // group, -1).transpose(0, 2, 1)
    total = matmul(rows, columns).reshape(group, batch, int(np.prod(spatial)), -1).transpose(1, 0, 3, 2)
    return total.reshape(batch, weight.shape[0], *spatial)


def windows(x: np.ndarray, kernel: Sequence[int], attributes: Attributes, *, fill: float) -> np.ndarray:
    """Every window of x as [N, C, out..., kernel...], padded with `fill`."""
    dims = len(kernel)
    strides = attributes.get("strides", [1] * dims)
    dilations = attributes.get("dilations", [1] * dims)
    reach = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True)]
    before, after = _pads(x.shape[2:], reach, strides, attributes)
    x = np.pad(x, [(0, 0), (0, 0), *zip(before, after, strict=True)], constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, 2 + dims)))
    every = tuple(slice(None, None, step) for step in (*strides, *dilations))
    return seen[(slice(None), slice(None), *every)]


def _pads(
    sizes: Sequence[int], reach: Sequence[int], strides: Sequence[int], attributes: Attributes
) -> tuple[list[int], list[int]]:
    dims, auto = len(sizes), attributes.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        total = [
            max(0, (-(-size // step) - 1) * step + span - size)
            for size, step, span in zip(sizes, strides, reach, strict=True)
        ]
        less, more = [part // 2 for part in total], [part - part // 2 for part in total]
        return (less, more) if auto == "SAME_UPPER" else (more, less)
    pads = list(attributes.get("pads", [0] * 2 * dims)) if auto == "NOTSET" else [0] * 2 * dims
    before, after = pads[:dims], pads[dims:]
    if attributes.get("ceil_mode"):
        for axis, (size, step, span) in enumerate(zip(sizes, strides, reach, strict=True)):
            padded = size + before[axis] + after[axis]
            steps = -(-(padded - span) // step)
            steps -= steps * step >= size + before[axis]  # a window may not start in the padding behind
            after[axis] += max(0, steps * step + span - padded)
    return before, after


def max_pool(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    """The largest value of each window; padding never wins."""
    x, kernel = inputs[0], attributes["kernel_shape"]
    fill = np.iinfo(np.int64).min if x.dtype.kind == "i" else -np.inf
    return np.asarray(windows(x, kernel, attributes, fill=fill).max(axis=tuple(range(-len(kernel), 0))))


def average_pool(inputs: list[np.ndarray], attributes: Attributes) -> tuple[np.ndarray, np.ndarray]:
    """(sum, count) of each window; the count leaves padding out unless count_include_pad."""
    x, kernel = inputs[0], attributes["kernel_shape"]
    axes = tuple(range(-len(kernel), 0))
    ones = np.ones((1, 1, *x.shape[2:]))
    if attributes.get("count_include_pad"):
        pads = list(attributes.get("pads", [0] * 2 * len(kernel)))
        edges = [(0, 0), (0, 0), *zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)]
        x, ones = np.pad(x, edges), np.pad(ones, edges, constant_values=1.0)
        attributes = {**attributes, "pads": [0] * 2 * len(kernel)}
    return (
        windows(x, kernel, attributes, fill=0).sum(axis=axes),
        windows(ones, kernel, attributes, fill=0).sum(axis=axes),
    )


def global_sum(inputs: list[np.ndarray], attributes: Attributes) -> tuple[np.ndarray, np.ndarray]:
    """(sum over space, number of positions)."""
    x = inputs[0]
    return x.sum(axis=tuple(range(2, x.ndim)), keepdims=True), np.asarray(float(np.prod(x.shape[2:])))


def reduce_sum(inputs: list[np.ndarray], attributes: Attributes) -> tuple[np.ndarray, np.ndarray]:
    """(sum over axes, number of values) of a ReduceMean, its axes an input (opset 18) or an attribute."""
    x = inputs[0]
    given = inputs[1] if len(inputs) > 1 and inputs[1] is not None else attributes.get("axes")
    axes = tuple(int(axis) for axis in given) if given is not None and len(given) else tuple(range(x.ndim))
    count = float(np.prod([x.shape[axis] for axis in axes]))
    return x.sum(axis=axes, keepdims=bool(attributes.get("keepdims", 1))), np.asarray(count)


def clip_limits(inputs: list[np.ndarray], attributes: Attributes) -> tuple[Any, Any]:
    """(low, high) of a Clip, open where absent."""
    low = inputs[1] if len(inputs) > 1 and inputs[1] is not None else attributes.get("min", -np.inf)
    high = inputs[2] if len(inputs) > 2 and inputs[2] is not None else attributes.get("max", np.inf)
    return low, high


def _reshape(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    x, shape = inputs[0], [int(size) for size in inputs[1]]
    keep = not attributes.get("allowzero")
    return x.reshape([x.shape[axis] if size == 0 and keep else size for axis, size in enumerate(shape)])


def _flatten(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    x, axis = inputs[0], attributes.get("axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _axes(inputs: list[np.ndarray], attributes: Attributes) -> tuple[int, ...]:
    given = inputs[1] if len(inputs) > 1 and inputs[1] is not None else attributes.get("axes", ())
    return tuple(int(axis) for axis in given)


def _squeeze(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    return np.squeeze(inputs[0], _axes(inputs, attributes) or None)


def _slice(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    x, starts, ends, *rest = inputs
    axes = rest[0] if rest and rest[0] is not None else range(len(starts))
    steps = rest[1] if len(rest) > 1 and rest[1] is not None else [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        stop = None if step < 0 and end < -x.shape[axis] else int(end)
        cut[int(axis)] = slice(int(start), stop, int(step))
    return x[tuple(cut)]


def _softmax(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    axis = attributes.get("axis", -1 if attributes.get("opset", 13) >= 13 else 1)
    power = np.exp(inputs[0] - inputs[0].max(axis=axis, keepdims=True))
    return np.asarray(power / power.sum(axis=axis, keepdims=True))


def _batch_norm(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    x, gain, shift, mean, variance = inputs
    shape = (1, -1, *[1] * (x.ndim - 2))
    factor = gain / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return np.asarray(x * factor.reshape(shape) + (shift - mean * factor).reshape(shape))


def _hard_sigmoid(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return np.asarray(np.clip(inputs[0] * alpha + beta, 0.0, 1.0))


def _instance_norm(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    x, gain, shift = inputs
    axes, shape = tuple(range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
    centered = x - x.mean(axis=axes, keepdims=True)
    spread = np.sqrt(np.square(centered).mean(axis=axes, keepdims=True) + attributes.get("epsilon", 1e-5))
    return np.asarray(centered / spread * gain.reshape(shape) + shift.reshape(shape))


def _leaky_relu(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    return np.where(inputs[0] < 0, inputs[0] * attributes.get("alpha", 0.01), inputs[0])


# Move values about, on integers as they are.
MOVING: Mapping[str, Operator] = {
    "MaxPool": max_pool,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Transpose": lambda inputs, attributes: np.transpose(inputs[0], attributes.get("perm")),
    "Unsqueeze": lambda inputs, attributes: np.expand_dims(inputs[0], _axes(inputs, attributes)),
    "Identity": lambda inputs, attributes: inputs[0],
    "Dropout": lambda inputs, attributes: inputs[0],
}


def _shape(inputs: list[np.ndarray], attributes: Attributes) -> np.ndarray:
    return np.asarray(inputs[0].shape[attributes.get("start", 0) : attributes.get("end")], np.int64)


# Compute on real values.
FLOAT: Mapping[str, Operator] = {
    "Add": lambda inputs, attributes: inputs[0] + inputs[1],
    "Sub": lambda inputs, attributes: inputs[0] - inputs[1],
    "Div": lambda inputs, attributes: inputs[0] / inputs[1],
    "Concat": lambda inputs, attributes: np.concatenate(inputs, attributes["axis"]),
    "Sigmoid": lambda inputs, attributes: 1.0 / (1.0 + np.exp(-inputs[0])),
    "Tanh": lambda inputs, attributes: np.tanh(inputs[0]),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda inputs, attributes: inputs[0] * np.clip(inputs[0] / 6.0 + 0.5, 0.0, 1.0),
    "LeakyRelu": _leaky_relu,
    "Softmax": _softmax,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "Shape": _shape,
    "Constant": lambda inputs, attributes: numpy_helper.to_array(attributes["value"]),
}
