"""The kernels of a file: its graph as the runtime optimizes it, with the shapes that a run makes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx

from edgekit.errors import BadInput
from edgekit.export.file import read
from edgekit.predict.isolate import feeds_of
from edgekit.predict.kernel import Kernel, Tensor, kernels_of
from edgekit.target import Target


def read_kernels(path: Path, target: Target) -> list[tuple[str, Kernel]]:
    """(node, kernel) of an ONNX file at batch 1, in the order they run.

    The file is optimized by the runtime of this machine and run once with every tensor as an output, because the
    runtime writes no shapes. BadInput where it cannot be read, loaded or run.
    """
    model = _read(path)
    _fix_free_sizes(model)
    with tempfile.TemporaryDirectory(prefix="edgekit-predict-") as folder:
        return _kernels(model, Path(folder), target)


def _kernels(model: onnx.ModelProto, folder: Path, target: Any) -> list[tuple[str, Kernel]]:
    fixed, optimized, whole = (folder / f"{name}.onnx" for name in ("fixed", "optimized", "whole"))
    onnx.save(model, fixed)
    target.optimize(fixed, optimized)
    running = onnx.load(optimized)
    seen = {value.name for value in running.graph.output}
    for node in running.graph.node:
        running.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in node.output if name and name not in seen
        )
    onnx.save(running, whole)
    runner = target.runner(whole, optimization="none")
    inputs = {spec.name: Tensor(spec.dtype, spec.concrete()) for spec in runner.signature.inputs}
    values = runner.run(feeds_of(inputs))
    tensors = {name: Tensor(value.dtype.name, value.shape) for name, value in values.items()}
    return kernels_of(running, {**inputs, **tensors})


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise BadInput(f"predict: there is no file '{path}'. Name an ONNX file.")
    return read(path)


def _fix_free_sizes(model: onnx.ModelProto) -> None:
    """Every free dimension of an input becomes 1; what was inferred from it is forgotten."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        for size in value.type.tensor_type.shape.dim if value.name not in constants else ():
            if not size.HasField("dim_value"):
                size.dim_value = 1
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
