"""Small ONNX graphs whose work is known, to find out what a runtime can do at most on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import MissingDependency

CHANNELS, IMAGE, KERNEL = 128, 14, 3  # about 1 MB in float32: it stays in the cache, and keeps a core busy
WIDTH = 256  # of a matrix product
OPSET, IR_VERSION = 17, 9  # what onnxruntime has read since 1.14
LINKS = (1, 101)  # lengths of the chains whose difference is 100 nodes
COLUMNS = 256
LARGEST_MATRIX = 2**25  # bytes
PERIOD = 2**16  # numbers


@dataclass(frozen=True)
class Probe:
    """A graph (an onnx.ModelProto), its input, and the work of one run: MACs, bytes or nodes."""

    model: Any
    feeds: Mapping[str, np.ndarray]
    work: int

    @property
    def nodes(self) -> int:
        """How many the graph has."""
        return len(self.model.graph.node)


def compute_probes() -> dict[str, list[Probe]]:
    """A convolution and a matrix product for each precision; `work` in MACs."""
    return {
        "float32": [_convolution("Conv"), _product("MatMul")],
        "int8": [_convolution("QLinearConv"), _product("MatMulInteger")],
    }


def traffic_probes(size: int) -> list[Probe]:
    """Additions, negations and matrix-vector products over about `size` bytes; `work` in bytes moved.

    An addition a + b -> c counts 12 bytes an element, as McCalpin's STREAM (1995) does: what a cache fetches
    before it writes is not counted. Large buffers have no product: its file would be as large.
    """
    links = int(np.clip(2**22 // size, 1, 64))
    chains = [_chain("Add", links, size // 12), _chain("Neg", links, size // 8)]
    return chains if size > LARGEST_MATRIX else [*chains, _vector_product(links, size)]


def dispatch_probes() -> tuple[Probe, Probe]:
    """A chain of one and of many additions of 16 numbers; `work` in nodes."""
    short, long = (_chain("Add", links, 16) for links in LINKS)
    return Probe(short.model, short.feeds, LINKS[0]), Probe(long.model, long.feeds, LINKS[1])


def _convolution(operator: str) -> Probe:
    weight = _numbers("float32" if operator == "Conv" else "int8", (CHANNELS, CHANNELS, KERNEL, KERNEL))
    feed = _numbers("float32" if operator == "Conv" else "uint8", (1, CHANNELS, IMAGE, IMAGE))
    names = ["x", "w"] if operator == "Conv" else ["x", "s", "z", "w", "s", "wz", "s", "z"]
    constants = {"w": weight, "s": np.float32(0.1), "z": np.uint8(128), "wz": np.int8(0)}
    node = _onnx().helper.make_node(operator, names, ["y"], pads=[KERNEL // 2] * 4)
    model = _model([node], {"x": feed}, {"y": feed}, {name: constants[name] for name in {*names[1:]}})
    return Probe(model, {"x": feed}, weight.size * IMAGE * IMAGE)


def _product(operator: str) -> Probe:
    floating = operator == "MatMul"
    weight = _numbers("float32" if floating else "int8", (WIDTH, WIDTH))
    feed = _numbers("float32" if floating else "uint8", (WIDTH, WIDTH))
    result = feed if floating else feed.astype(np.int32)
    node = _onnx().helper.make_node(operator, ["x", "w"], ["y"])
    return Probe(_model([node], {"x": feed}, {"y": result}, {"w": weight}), {"x": feed}, WIDTH**3)


def _chain(operator: str, links: int, count: int) -> Probe:
    """`links` operations on `count` float32 numbers, each taking the one before it."""
    feeds = {"x": _numbers("float32", (count,))}
    if operator == "Add":
        feeds["y"] = feeds["x"].copy()
    names = ["x", *(f"t{index}" for index in range(links))]
    others = ["y"] if operator == "Add" else []
    nodes = [
        _onnx().helper.make_node(operator, [names[index], *others], [names[index + 1]])
        for index in range(links)
    ]
    model = _model(nodes, feeds, {names[-1]: feeds["x"]}, {})
    return Probe(model, feeds, 4 * count * links * (2 + len(others)))


def _vector_product(links: int, size: int) -> Probe:
    """`links` vectors, one after the other, times the same matrix of `size` bytes."""
    matrix = _numbers("float32", (COLUMNS, max(1, size // 4 // COLUMNS)))
    feeds = {f"x{index}": _numbers("float32", (1, COLUMNS)) for index in range(links)}
    results = {f"y{index}": np.empty((1, matrix.shape[1]), np.float32) for index in range(links)}
    make = _onnx().helper.make_node
    nodes = [make("MatMul", [x, "w"], [y]) for x, y in zip(feeds, results, strict=True)]
    return Probe(_model(nodes, feeds, results, {"w": matrix}), feeds, links * matrix.nbytes)


def _numbers(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers that repeat, far from denormals and within 7 bits, which no x86 saturates on."""
    chance = np.random.default_rng(0)
    if kind == "float32":
        return np.resize(chance.uniform(0.5, 1.0, PERIOD).astype(np.float32), shape)
    return np.resize(
        chance.integers(*((0, 128) if kind == "uint8" else (-63, 64)), PERIOD).astype(kind), shape
    )


def _model(
    nodes: Iterable[Any],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    constants: Mapping[str, Any],
) -> Any:
    onnx = _onnx()
    graph = onnx.helper.make_graph(
        list(nodes),
        "probe",
        [_value(name, value) for name, value in inputs.items()],
        [_value(name, value) for name, value in outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def _value(name: str, value: np.ndarray) -> Any:
    helper = _onnx().helper
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingDependency("onnx", "host", "measuring a machine's ceilings") from error
    return onnx
