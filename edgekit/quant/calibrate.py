"""Calibration: run the fp32 graph over data in onnxruntime and observe the tensors that will be quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from edgekit.errors import BadInput
from edgekit.quant.observers import Observer, Range, observer
from edgekit.target import Grid

Feeds = Mapping[str, np.ndarray]


def calibrate(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    feeds: Iterable[Feeds],
    *,
    method: str = "minmax",
    grid: Grid | Mapping[str, Grid] | None = None,
    threads: int = 0,
    memory: int = 256 << 20,
    layers: Mapping[str, str] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> dict[str, Range]:
    """(low, high) of each named tensor of `model` over `feeds`, one pass.

    `method` is minmax, percentile (99.99), mse or entropy; the last two search for `grid` (one for all, or
    by tensor name; default uint8 affine). Batches are cut so that one run's observed tensors fit in
    `memory` bytes, and tensors are split into groups where a single sample would not. `threads` 0 is all of
    them. `layers` names tensors' source layers for messages. `on_batch(samples so far)` is told the
    progress. Raises BadInput for no data, for a tensor that is not in the graph, and for NaN or infinity in
    a tensor.
    """
    grids = grid if isinstance(grid, Mapping) else {}
    default = grid if isinstance(grid, Grid) else Grid(8, signed=False, symmetric=False)
    observers = {name: observer(method, grids.get(name, default)) for name in tensors}
    names = _Names(model, layers or {})
    runner: _Runner | None = None
    done = 0
    for batch in feeds:
        runner = runner or _Runner(model, list(observers), names, threads, memory)
        done += runner.observe(batch, observers)
        if on_batch is not None:
            on_batch(done)
    if not done:
        raise BadInput("calibrate: the calibration data is empty. Give at least one batch of inputs.")
    return {name: one.range() for name, one in observers.items()}


class _Names:
    """Which tensors a graph has, and what to call the layer behind each."""

    def __init__(self, model: onnx.ModelProto, layers: Mapping[str, str]) -> None:
        graph = model.graph
        initializers = {item.name for item in graph.initializer}
        self.inputs = [item.name for item in graph.input if item.name not in initializers]
        self.producer = {name: node for node in graph.node for name in node.output}
        self.layers = layers
        self.free_batch = all(_is_free(item) for item in graph.input if item.name in self.inputs)

    def check(self, name: str) -> None:
        """Raise BadInput where the graph has no such tensor."""
        if name not in self.producer and name not in self.inputs:
            raise BadInput(
                f"calibrate: the graph has no tensor '{name}'. Name an output of a node or an input."
            )

    def describe(self, name: str) -> str:
        """The tensor with its layer or its node."""
        if name in self.layers:
            return f"'{name}' of layer '{self.layers[name]}'"
        node = self.producer.get(name)
        return f"'{name}' of node '{node.name}' ({node.op_type})" if node is not None else f"input '{name}'"


class _Runner:
    """One or more sessions that give out the tensors, in pieces that fit in memory."""

    def __init__(
        self, model: onnx.ModelProto, tensors: list[str], names: _Names, threads: int, memory: int
    ) -> None:
        for name in tensors:
            names.check(name)
        self.names, self.memory = names, memory
        self.given = [name for name in tensors if name in names.inputs]
        self.made = [name for name in tensors if name not in names.inputs]
        self.session = _session(model, self.made, threads)
        self.sample_bytes = self._sample_bytes()

    def observe(self, feeds: Feeds, observers: Mapping[str, Observer]) -> int:
        """Update the observers with one batch; the number of samples in it."""
        samples = len(next(iter(feeds.values()))) if feeds else 0
        if not samples:
            return 0
        for name in self.given:
            self._update(name, feeds[name], observers)
        for group, piece in self._pieces(feeds, samples):
            for name, value in zip(group, self.session.run(group, piece), strict=True):
                self._update(name, value, observers)
        return samples

    def _update(self, name: str, value: np.ndarray, observers: Mapping[str, Observer]) -> None:
        if not (np.isfinite(value.min(initial=0.0)) and np.isfinite(value.max(initial=0.0))):
            kind = "NaN" if np.isnan(value).any() else "infinity"
            raise BadInput(
                f"calibrate: the tensor {self.names.describe(name)} holds {kind}. Check the weights of the "
                "layers before it and the preprocessing of the data."
            )
        observers[name].update(value)

    def _pieces(self, feeds: Feeds, samples: int) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
        """(tensors, part of the batch) so that each run's outputs fit."""
        if not self.made:
            return
        total = sum(self.sample_bytes.values())
        step = max(1, min(samples, self.memory // max(1, total))) if self.names.free_batch else samples
        scaled = {
            name: size * (step if self.names.free_batch else 1) for name, size in self.sample_bytes.items()
        }
        groups = _groups(scaled, self.memory)
        for start in range(0, samples, step):
            piece = {name: np.ascontiguousarray(value[start : start + step]) for name, value in feeds.items()}
            for group in groups:
                yield group, piece

    def _sample_bytes(self) -> dict[str, int]:
        """Bytes of each tensor from the shapes that onnxruntime infers, a free dimension counted once."""
        shapes = {item.name: item.shape for item in self.session.get_outputs()}
        return {
            name: 4 * int(np.prod([size if isinstance(size, int) else 1 for size in shapes[name]]))
            for name in self.made
        }


def _groups(sizes: Mapping[str, int], memory: int) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if groups[-1] and filled + size > memory:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups


def _session(model: onnx.ModelProto, tensors: Sequence[str], threads: int) -> Any:
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {item.name for item in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in known)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            copy.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise BadInput(
            f"calibrate: onnxruntime cannot run the graph: {str(error).splitlines()[0]}. Run `edgekit "
            "check` on the model."
        ) from error


def _is_free(item: onnx.ValueInfoProto) -> bool:
    dims = item.type.tensor_type.shape.dim
    return bool(dims) and not dims[0].HasField("dim_value")
