"""A kernel: one node of the graph that the runtime runs after its own optimizer, with shapes and precision."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

VIEWS: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape"})
# Operators with learned weights, and which of their inputs those are.
WEIGHTS: Final = {
    "Conv": 1,
    "FusedConv": 1,
    "NhwcFusedConv": 1,
    "ConvTranspose": 1,
    "ConvInteger": 1,
    "QLinearConv": 3,
    "Gemm": 1,
    "FusedGemm": 1,
    "MatMul": 1,
    "FusedMatMul": 1,
    "MatMulInteger": 1,
    "MatMulIntegerToFloat": 1,
    "DynamicQuantizeMatMul": 1,
    "QGemm": 3,
    "QLinearMatMul": 3,
}
KEPT: Final = 16  # elements; a constant of so few is a shape, axes or bounds, and the kernel needs its values


class Tensor(NamedTuple):
    """An operand: numpy type name, shape, whether it is a constant, and the values of a small one."""

    dtype: str
    shape: tuple[int, ...]
    constant: bool = False
    values: tuple[Any, ...] | None = None

    @property
    def elements(self) -> int:
        """Their number."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """The memory."""
        return self.elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Kernel:
    """operator with its domain, attributes as sorted (name, value), inputs (None: absent) and outputs.

    opset: of the standard operators, in whose form the node is written.
    """

    operator: str
    domain: str
    opset: int
    attributes: tuple[tuple[str, Any], ...]
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    @property
    def data(self) -> Tensor:
        """What is computed on: the first operand that is no constant."""
        return next((t for t in self.inputs if t is not None and not t.constant), self.outputs[0])

    def shape_of(self, place: int) -> tuple[int, ...]:
        """The shape of an operand, () where it is absent."""
        found = self.inputs[place]
        return found.shape if found is not None else ()

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute's value, or what it is where the node does not say."""
        return dict(self.attributes).get(name, default)

    @property
    def weight(self) -> Tensor | None:
        """The learned weights, where the operator has any that are constant."""
        place = WEIGHTS.get(self.operator)
        found = self.inputs[place] if place is not None and place < len(self.inputs) else None
        return found if found is not None and found.constant else None

    @property
    def family(self) -> str:
        """Kernels of one family run the same code at other sizes: operator, precision and form.

        A convolution or product with an activation fused to it runs the code of the plain one.
        """
        plain = self.operator.removeprefix("Fused")
        domain = self.domain.removeprefix("com.microsoft.") if plain == self.operator else ""
        words = [f"{domain}.{plain}".lstrip(".")]
        words += [self.data.dtype, *self._form()]
        return " ".join(words)

    @property
    def weight_bytes(self) -> int:
        """Of every constant operand."""
        return sum(tensor.bytes for tensor in self.inputs if tensor is not None and tensor.constant)

    @property
    def activation_bytes(self) -> int:
        """Read and written, constants apart."""
        read = sum(tensor.bytes for tensor in self.inputs if tensor is not None and not tensor.constant)
        return read + sum(tensor.bytes for tensor in self.outputs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the kernel does, padded channels included; 0 without products."""
        if self.operator in ("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv"):
            return self.outputs[0].elements * math.prod(self.shape_of(WEIGHTS[self.operator])[1:])
        if self.operator == "ConvTranspose":
            return self.data.elements * math.prod(self.shape_of(1)[1:])
        if self.operator in WEIGHTS:
            turned = dict(self.attributes).get("transA", 0)
            return self.outputs[0].elements * (self.data.shape or (1,))[-2 if turned else -1]
        return 0

    def to_json(self) -> list[Any]:
        """Plain JSON."""
        operands = [None if tensor is None else list(tensor) for tensor in self.inputs]
        results = [list(tensor) for tensor in self.outputs]
        return [self.operator, self.domain, self.opset, dict(self.attributes), operands, results]

    @classmethod
    def from_json(cls, value: list[Any]) -> Kernel:
        """The inverse of `to_json`; ValueError or TypeError where it is none."""
        operator, domain, opset, attributes, inputs, outputs = value
        return cls(
            str(operator),
            str(domain),
            int(opset),
            tuple(sorted((name, _frozen(item)) for name, item in attributes.items())),
            tuple(None if item is None else _tensor(item) for item in inputs),
            tuple(_tensor(item) for item in outputs),
        )

    def __str__(self) -> str:
        shapes = " ".join("x".join(map(str, tensor.shape)) for tensor in (self.data, self.outputs[0]))
        return f"{self.family} {shapes.replace(' ', ' -> ')}"

    def _form(self) -> list[str]:
        words = []
        if "Conv" in self.operator:
            words.append(self._convolution())
        if self.operator in WEIGHTS and self.weight is None:
            words.append("of activations")
        if self.operator == "Transpose":
            words.append("".join(map(str, self.attribute("perm", ()))))
        return words

    def _convolution(self) -> str:
        weight, group = self.shape_of(WEIGHTS[self.operator]), self.attribute("group", 1)
        if group > 1:
            return "depthwise" if weight[1] == 1 else "grouped"
        if self.domain.endswith("nchwc") and weight[1] % 8:
            return "from planes"  # the first layer: its input is not in blocks of channels
        return "pointwise" if math.prod(weight[2:]) == 1 else "dense"


def kernels_of(model: onnx.ModelProto, tensors: Mapping[str, Tensor]) -> list[tuple[str, Kernel]]:
    """The kernels of an optimized graph by node name, in order; `tensors` are its activations by name."""
    constants = {proto.name: _constant(proto) for proto in model.graph.initializer}
    known = {**tensors, **constants}
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    found = []
    for index, node in enumerate(model.graph.node):
        inputs = tuple(known.get(name) if name else None for name in node.input)
        outputs = tuple(known[name] for name in node.output if name in known)
        if node.op_type != "Constant" and outputs:
            kernel = Kernel(node.op_type, node.domain, opset, _attributes(node.attribute), inputs, outputs)
            found.append((node.name or f"{node.op_type}_{index}", _plain_view(kernel)))
    return found


def _plain_view(kernel: Kernel) -> Kernel:
    """A view costs the same at every size, so all of them are one kernel of one element."""
    if kernel.operator not in VIEWS:
        return kernel
    one = Tensor(kernel.outputs[0].dtype if kernel.operator != "Shape" else "float32", (1,))
    return Kernel("Identity", "", kernel.opset, (), (one,), (one,))


def _attributes(protos: Iterable[onnx.AttributeProto]) -> tuple[tuple[str, Any], ...]:
    values = ((proto.name, helper.get_attribute_value(proto)) for proto in protos)
    return tuple(sorted((name, _frozen(value)) for name, value in values))


def _frozen(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (onnx.TensorProto, onnx.GraphProto)):
        return value.SerializeToString().hex()[:64]
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def _constant(proto: onnx.TensorProto) -> Tensor:
    dtype = helper.tensor_dtype_to_np_dtype(proto.data_type)
    shape = tuple(proto.dims)
    small = math.prod(shape) <= KEPT and (
        (dtype.kind == "i" and dtype.itemsize == 8) or not shape or shape == (1,)
    )
    values = tuple(numpy_helper.to_array(proto).reshape(-1).tolist()) if small else None
    return Tensor(dtype.name, shape, True, values)


def _tensor(value: list[Any]) -> Tensor:
    dtype, shape, constant, values = value
    return Tensor(
        np.dtype(dtype).name,
        tuple(int(size) for size in shape),
        bool(constant),
        None if values is None else tuple(values),
    )


def key_of(kernel: Kernel) -> str:
    """A text that is equal for equal kernels."""
    return json.dumps(kernel.to_json(), sort_keys=True)
