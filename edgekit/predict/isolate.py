"""A model of one kernel alone, several times over, to be run as it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.predict.kernel import Kernel, Tensor

IR_VERSION, OPSET = 10, 21
ONE = Tensor("float32", (1,))
FEW = 4099  # random values, repeated over a tensor: drawing millions takes longer than timing them


def isolated(kernel: Kernel, copies: int, *, seed: int = 0) -> onnx.ModelProto:
    """`copies` nodes that read one input and have weights of their own, behind them one output of a few numbers.

    Copies have weights of their own because a network's layers do: how many fit the caches decides how fast they
    are read. Only the last node's result is read; the runtime runs the others too, as long as it is told not to
    optimize.
    """
    chance = np.random.default_rng(seed)
    nodes, constants = [], []
    for copy in range(copies):
        node, own = _node(kernel, copy, chance)
        nodes.append(node)
        constants += own
    return _model(nodes, named_inputs(kernel), constants, (kernel.domain, 1), ("", kernel.opset))


def empty() -> onnx.ModelProto:
    """A model of no kernel: what every run costs beside its nodes."""
    return _model([], {"x": ONE}, [], ("", OPSET))


def named_inputs(kernel: Kernel) -> dict[str, Tensor]:
    """The activations that the kernel reads, as the model's inputs; one that it does not read where it reads none."""
    return {
        f"x{place}": tensor
        for place, tensor in enumerate(kernel.inputs)
        if tensor is not None and not tensor.constant
    } or {"x": ONE}


def _model(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, Tensor],
    constants: list[onnx.TensorProto],
    *opsets: tuple[str, int],
) -> onnx.ModelProto:
    last = nodes[-1].output[0] if nodes else next(iter(inputs))
    graph = helper.make_graph(
        [*nodes, helper.make_node("Shape", [last], ["out"], name="out")],
        "kernel",
        [helper.make_tensor_value_info(name, _type(t), list(t.shape)) for name, t in inputs.items()],
        [helper.make_tensor_value_info("out", onnx.TensorProto.INT64, None)],
        constants,
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in dict(opsets).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def feeds_of(inputs: Mapping[str, Tensor], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Random values by input name: standard normal, or small integers."""
    chance = np.random.default_rng(seed)
    return {name: random_values(tensor, chance) for name, tensor in inputs.items()}


def random_values(tensor: Tensor, chance: np.random.Generator) -> np.ndarray:
    """What a tensor may hold: positive where it may be a scale or a variance, no denormals."""
    dtype = np.dtype(tensor.dtype)
    if tensor.values is not None:
        return np.asarray(tensor.values, dtype).reshape(tensor.shape)
    if dtype.kind == "f" and len(tensor.shape) > 1:
        few: np.ndarray = (0.1 if tensor.constant else 1.0) * chance.standard_normal(FEW)
    elif dtype.kind == "f":
        few = np.full(1, 0.05)
    elif dtype.itemsize == 1 and len(tensor.shape) > 1:
        few = chance.integers(*((-100, 100) if dtype.kind == "i" else (28, 228)), FEW)
    else:
        few = np.zeros(1)
    return np.resize(few.astype(dtype), tensor.shape)


def _node(
    kernel: Kernel, copy: int, chance: np.random.Generator
) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    names, constants = [], []
    for place, tensor in enumerate(kernel.inputs):
        name = "" if tensor is None else f"c{copy}_{place}" if tensor.constant else f"x{place}"
        names.append(name)
        if tensor is not None and tensor.constant:
            constants.append(numpy_helper.from_array(random_values(tensor, chance), name))
    outputs = [f"y{copy}_{index}" for index in range(len(kernel.outputs))]
    node = helper.make_node(kernel.operator, names, outputs, name=f"k{copy}", domain=kernel.domain)
    node.attribute.extend(helper.make_attribute(name, _plain(value)) for name, value in kernel.attributes)
    return node, constants


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _type(tensor: Tensor) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
