"""Float ONNX graphs drawn layer by layer with random weights, and their int8 form: to be timed, not trained."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekit.quant.observers import scale_for, weight_scale
from edgekit.quant.placement import place
from edgekit.quant.quantization import Quantization
from edgekit.target import Caps

Shape = tuple[int, ...]
Pair = int | tuple[int, ...]
OPSET, IR_VERSION = 21, 10


class Sketch:
    """A graph with one input `input` [1, *shape]; every method adds a layer and returns its tensor's name.

    `shapes` has the shape of every tensor. Weights are normal with variance 2 / inputs, so that activations keep
    their size and no value is denormal.
    """

    def __init__(self, shape: Shape, *, seed: int = 0) -> None:
        self.shapes: dict[str, Shape] = {"input": (1, *shape)}
        self._chance = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def conv(
        self,
        x: str,
        channels: int,
        kernel: Pair = 1,
        *,
        stride: Pair = 1,
        groups: int = 1,
        padding: Pair | None = None,
        dilation: Pair = 1,
        act: str = "Relu",
    ) -> str:
        """A convolution, its bias and its activation ("": none); the padding is kernel // 2 where None."""
        _, inputs, *size = self.shapes[x]
        window, steps, gaps = _pair(kernel), _pair(stride), _pair(dilation)
        pads = [side // 2 for side in window] if padding is None else _pair(padding)
        size = [
            (side + 2 * pad - gap * (wide - 1) - 1) // step + 1
            for side, pad, gap, wide, step in zip(size, pads, gaps, window, steps, strict=True)
        ]
        found = self._add(
            "Conv",
            [
                x,
                self._weights((channels, inputs // groups, *window), inputs // groups * math.prod(window)),
                self._constant(np.full(channels, 0.01, np.float32)),
            ],
            (1, channels, *size),
            kernel_shape=window,
            strides=steps,
            pads=[*pads, *pads],
            dilations=gaps,
            group=groups,
        )
        return self.act(found, act)

    def linear(self, x: str, features: int, *, act: str = "Relu") -> str:
        """x W^T + b and its activation, of a matrix [1, inputs]."""
        inputs = self.shapes[x][1]
        operands = [x, self._weights((features, inputs), inputs)]
        operands.append(self._constant(np.full(features, 0.01, np.float32)))
        return self.act(self._add("Gemm", operands, (1, features), transB=1), act)

    def act(self, x: str, kind: str) -> str:
        """Relu, Relu6, Sigmoid, HardSwish or nothing, element by element."""
        if not kind:
            return x
        if kind == "Relu6":
            bounds = [self._constant(np.asarray(value, np.float32)) for value in (0.0, 6.0)]
            return self._add("Clip", [x, *bounds], self.shapes[x])
        return self._add(kind, [x], self.shapes[x])

    def add(self, x: str, y: str, *, act: str = "Relu") -> str:
        """x + y and its activation."""
        return self.act(self._add("Add", [x, y], self.shapes[x]), act)

    def scale(self, x: str, gate: str) -> str:
        """x times a gate [1, channels, 1, 1]."""
        return self._add("Mul", [x, gate], self.shapes[x])

    def concat(self, parts: list[str]) -> str:
        """The channels of all parts side by side."""
        _, _, *size = self.shapes[parts[0]]
        channels = sum(self.shapes[part][1] for part in parts)
        return self._add("Concat", parts, (1, channels, *size), axis=1)

    def pool(self, x: str, kind: str = "MaxPool", *, kernel: int = 2, stride: int = 2) -> str:
        """MaxPool or AveragePool, padded by (kernel - 1) // 2."""
        _, channels, height, width = self.shapes[x]
        pad = (kernel - 1) // 2
        size = [(side + 2 * pad - kernel) // stride + 1 for side in (height, width)]
        return self._add(
            kind,
            [x],
            (1, channels, *size),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
        )

    def mean(self, x: str, *, flat: bool = True) -> str:
        """The mean over positions, [1, channels], or [1, channels, 1, 1] where not flat."""
        channels = self.shapes[x][1]
        found = self._add("GlobalAveragePool", [x], (1, channels, 1, 1))
        return self.flatten(found) if flat else found

    def flatten(self, x: str) -> str:
        """[1, everything]."""
        return self._add("Flatten", [x], (1, int(np.prod(self.shapes[x]))))

    def softmax(self, x: str) -> str:
        """Over the last axis."""
        return self._add("Softmax", [x], self.shapes[x], axis=-1)

    def model(self, result: str) -> onnx.ModelProto:
        """The graph with `result` as its output `output`."""
        nodes = [*self._nodes, helper.make_node("Identity", [result], ["output"], name="output")]
        if self._nodes[-1].output[0] == result:
            nodes = self._nodes
            nodes[-1].output[0] = "output"
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
            for name, shape in (("input", self.shapes["input"]), ("output", self.shapes[result]))
        ]
        graph = helper.make_graph(nodes, "sketch", ends[:1], ends[1:], self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def _add(self, operator: str, inputs: list[str], shape: Shape, **attributes: Any) -> str:
        name = f"{operator.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        self.shapes[name] = shape
        return name

    def _weights(self, shape: Shape, inputs: int) -> str:
        values = self._chance.standard_normal(shape) * np.sqrt(2.0 / inputs)
        return self._constant(values.astype(np.float32))

    def _constant(self, value: np.ndarray) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name


def _pair(value: Pair) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def rough_quantization(model: onnx.ModelProto, caps: Caps) -> Quantization:
    """The scales of an int8 form whose time, not accuracy, is asked: activations in [-3, 3], [0, 6] after a Relu.

    A range from 0 up lets the runtime fold the Relu into the rounding, as a calibrated range does.
    """
    placement = place(model, caps)
    constants = {proto.name: proto for proto in model.graph.initializer}
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    wide, positive = scale_for(-3.0, 3.0, caps.activations), scale_for(0.0, 6.0, caps.activations)
    return Quantization(
        "int8",
        {
            site: positive if makers.get(name) in ("Relu", "Clip") else wide
            for name, site in placement.activations.items()
        },
        {
            site: weight_scale(numpy_helper.to_array(constants[name]), caps.weights, axis=axis)
            for name, (site, axis) in placement.weights.items()
        },
    )
