"""QONNX in standard ONNX operators: each quantizer node becomes the arithmetic that defines it.

Quant and IntQuant: y = (r(clip(x / s + z, lowest, highest)) - z) s. BipolarQuant: y = s where x >= 0, else -s.
Trunc: y = (r(clip(round(x / s + z) / 2^k, lowest, highest)) - z / 2^k) s', with 2^k = s' / s; version 1, which has
no output scale, k = bits in - bits out, no clipping, and y = (r(..) - z) s. `r` is the node's rounding; `round`
goes to the nearest, ties to even.

https://github.com/fastmachinelearning/qonnx/tree/main/docs/qonnx-custom-ops
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.errors import BadInput

OPSET = 13
QUANTIZERS = frozenset({"Quant", "IntQuant", "BipolarQuant", "Trunc"})
STANDARD = ("", "ai.onnx")
DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")

Value = str


def to_standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without QONNX nodes, whose constant part is computed; BadInput for nodes of any other dialect.

    A graph without quantizers is returned as it is.
    """
    shell = _shell(model)
    constants = {**_constants(shell), **_constants(model)}  # a change of version adds some and drops some
    quantizers = {node.output[0]: node for node in model.graph.node if _is_quantizer(node)}
    if not quantizers:
        return shell
    made: list[onnx.NodeProto] = []
    for node in shell.graph.node:
        found = quantizers.get(node.output[0])
        made += [node] if found is None else _Expansion(found, constants).nodes
    graph = shell.graph
    inputs = [item for item in graph.input if item.name not in constants]
    kept = _folded(made, constants, shell.opset_import[0].version)
    needed = {name for node in kept for name in node.input} | {item.name for item in graph.output}
    del graph.node[:], graph.input[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.input.extend(inputs)
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items() if name in needed
    )
    return shell


def _is_quantizer(node: onnx.NodeProto) -> bool:
    return node.op_type in QUANTIZERS and node.domain in DOMAINS


def _shell(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph at opset 13 or later, an Identity in the place of each quantizer."""
    shell = onnx.ModelProto()
    shell.CopyFrom(model)
    for index, node in enumerate(shell.graph.node):
        if _is_quantizer(node):
            data, output = node.input[0], node.output[0]
            node.CopyFrom(
                helper.make_node("Identity", [data], [output], name=node.name or f"quantizer_{index}")
            )
        elif node.domain not in STANDARD:
            raise BadInput(
                f"fpga: the node '{node.name or index}' is {node.domain}.{node.op_type}, which is not QONNX. Give the "
                "file from before FINN, or from the exporter of QONNX."
            )
    version = max((item.version for item in model.opset_import if item.domain in STANDARD), default=OPSET)
    del shell.opset_import[:], shell.graph.quantization_annotation[:]
    shell.opset_import.append(helper.make_opsetid("", version))
    if version < OPSET:
        del shell.graph.value_info[:]
        shell = onnx.version_converter.convert_version(shell, OPSET)
    shell.ir_version = max(shell.ir_version, 8)
    return shell


def _constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Every initializer and Constant by name."""
    found = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _folded(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], opset: int
) -> list[onnx.NodeProto]:
    """The nodes that need an input; what the others give is put among the constants (quantized weights, mostly)."""
    kept = []
    for node in nodes:
        if node.op_type == "Constant" or all(name in constants or not name for name in node.input):
            constants.update(zip(node.output, _evaluated(node, constants, opset), strict=True))
        else:
            kept.append(node)
    return kept


def _evaluated(node: onnx.NodeProto, constants: dict[str, np.ndarray], opset: int) -> list[np.ndarray]:
    inputs = {name: constants[name] for name in node.input if name}
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    outputs = [helper.make_value_info(name, onnx.TypeProto()) for name in node.output]
    graph = helper.make_graph([node], "constant", infos, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, inputs)]


class _Expansion:
    """The nodes that stand for one quantizer."""

    def __init__(self, node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> None:
        self.node, self.constants, self.nodes = node, constants, list[onnx.NodeProto]()
        self._count: Iterator[int] = itertools.count()
        self.attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        {
            "Quant": self._quant,
            "IntQuant": self._quant,
            "BipolarQuant": self._bipolar,
            "Trunc": self._trunc,
        }[node.op_type]()
        self.nodes[-1].output[0] = node.output[0]

    def _quant(self) -> None:
        data, scale, zero = self.node.input[:3]
        bits, signed = self._number(3), bool(self.attributes.get("signed", 1))
        value = self._shifted("Add", self._op("Div", data, scale), zero)
        if bits == 1 and signed:  # as qonnx does: a signed bit is bipolar
            value = self._sign(value)
        else:
            value = self._round(self._clip(value, bits, signed), self._mode("ROUND"))
        self._op("Mul", self._shifted("Sub", value, zero), scale)

    def _bipolar(self) -> None:
        self._op("Mul", self._sign(self.node.input[0]), self.node.input[1])

    def _trunc(self) -> None:
        data, scale, zero = self.node.input[:3]
        value = self._op("Round", self._shifted("Add", self._op("Div", data, scale), zero))
        if len(self.node.input) == 5:
            divisor = 2.0 ** (self._number(3) - self._number(4))
            value = self._round(self._op("Div", value, self._constant(divisor)), self._mode("FLOOR"))
            self._op("Mul", self._shifted("Sub", value, zero), scale)
            return
        bits, signed, output = self._number(5), bool(self.attributes.get("signed", 1)), self.node.input[4]
        divisor = 2.0 ** np.round(np.log2(self._array(4) / self._array(1)))
        value = self._op("Div", value, self._constant(divisor))
        value = self._round(self._clip(value, bits, signed), self._mode("FLOOR"))
        if np.any(self._array(2)):
            value = self._op("Sub", value, self._constant(self._array(2) / divisor))
        self._op("Mul", value, output)

    def _clip(self, value: Value, bits: int, signed: bool) -> Value:
        narrow = bool(self.attributes.get("narrow", 1 if self.node.op_type != "Trunc" else 0))
        lowest = (-(2 ** (bits - 1)) + narrow) if signed else 0
        highest = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        return self._op("Clip", value, self._constant(lowest), self._constant(highest))

    def _round(self, value: Value, mode: str) -> Value:
        if mode in ROUNDING:
            return self._op(ROUNDING[mode], value)
        if mode not in AWAY:
            raise BadInput(
                f"fpga: the node '{self.node.name}' rounds by '{mode}', which QONNX does not have. Known: "
                f"{', '.join(sorted({*ROUNDING, *AWAY}))}."
            )
        rounding, shift = AWAY[mode]
        size = self._op("Abs", value)
        if shift:
            size = self._op("Add", size, self._constant(shift))
        return self._op("Mul", self._op("Sign", value), self._op(rounding, size))

    def _sign(self, value: Value) -> Value:
        """1 where value >= 0, else -1."""
        positive = self._op("GreaterOrEqual", value, self._constant(0))
        return self._op("Where", positive, self._constant(1), self._constant(-1))

    def _shifted(self, operator: str, value: Value, zero: Value) -> Value:
        """value +- zero point, left out where it is 0."""
        known = self.constants.get(zero)
        return value if known is not None and not np.any(known) else self._op(operator, value, zero)

    def _mode(self, default: str) -> str:
        mode = self.attributes.get("rounding_mode", default)
        return (mode.decode() if isinstance(mode, bytes) else str(mode)).upper()

    def _array(self, position: int) -> np.ndarray:
        name = self.node.input[position]
        if name not in self.constants:
            raise BadInput(
                f"fpga: '{name}' of the node '{self.node.name}' is computed while the network runs; scales and bit "
                "widths of QONNX are constants. Export the file again, folded."
            )
        return self.constants[name]

    def _number(self, position: int) -> int:
        return int(self._array(position).reshape(-1)[0])

    def _constant(self, value: Any) -> Value:
        name = self._name()
        tensor = numpy_helper.from_array(np.asarray(value, np.float32), name)
        self.nodes.append(helper.make_node("Constant", [], [name], value=tensor, name=name))
        return name

    def _op(self, operator: str, *inputs: Value) -> Value:
        name = self._name()
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name))
        return name

    def _name(self) -> str:
        return f"{self.node.output[0]}/{self.node.op_type}_{next(self._count)}"


ROUNDING = {"ROUND": "Round", "HALF_EVEN": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}
# of |x|, with the sign put back: the operator and what is added before it
AWAY = {"UP": ("Ceil", 0.0), "DOWN": ("Floor", 0.0), "HALF_UP": ("Floor", 0.5), "HALF_DOWN": ("Ceil", -0.5)}
