"""Writing an artefact for onnxruntime: the fp32 graph as it is, in fp16, or with Q/DQ pairs."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edgekit.errors import BadInput
from edgekit.target import Artefact, Board, Caps
from targets.cpu.nodes import HEAVY, Graph

if TYPE_CHECKING:
    from edgekit.quant.quantization import Quantization

LARGEST = 2**31 - 1  # protobuf's limit


def export(
    model: onnx.ModelProto, quantization: Quantization | None, *, board: Board, caps: Caps, path: Path
) -> Artefact:
    """Write a fused fp32 graph to `path` in the precision that `quantization` asks for (None: fp32).

    The file appears whole or not at all. BadInput where the disk is full, the folder cannot be written, or
    the model is past ONNX's 2 GiB.
    """
    made = _in_precision(model, quantization, caps)
    write(made, Path(path))
    precision = quantization.precision if quantization is not None else "fp32"
    if precision == "int8" and _holds_float_layers(made):
        precision = "int8+fp32"
    return Artefact(Path(path), "cpu", board.name, precision)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Save a model through a temporary file beside it."""
    if model.ByteSize() > LARGEST:
        raise BadInput(
            f"export: {path} would be {model.ByteSize() / 2**30:.1f} GiB, past ONNX's limit of 2 GiB. "
            "Prune or quantize the model further."
        )
    data = model.SerializeToString()
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise BadInput(_why_not_written(path, len(data), error)) from error


def _in_precision(model: onnx.ModelProto, quantization: Quantization | None, caps: Caps) -> onnx.ModelProto:
    if quantization is None:
        return model
    if quantization.precision not in caps.precisions:
        raise BadInput(
            f"export: the precision '{quantization.precision}' is not one of this board's "
            f"({', '.join(caps.precisions)})."
        )
    if quantization.precision == "fp16":
        from edgekit.quant.half import to_fp16

        return to_fp16(model)
    from edgekit.quant.writer import write_qdq

    return write_qdq(model, quantization, caps)


def _holds_float_layers(model: onnx.ModelProto) -> bool:
    """Whether a convolution or matrix product takes something that is not dequantized."""
    graph = Graph(model)
    makers = [graph.maker(node.inputs[0]) for node in graph.compute() if node.family in HEAVY]
    return any(maker is None or maker.operator != "DequantizeLinear" for maker in makers)


def _why_not_written(path: Path, size: int, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent if path.parent.is_dir() else Path("/")).free
        return (
            f"export: the disk is full: {path} needs {size / 2**20:.1f} MiB and {free / 2**20:.1f} MiB are "
            "free. Free space, or choose another folder with --out."
        )
    return f"export: {path} cannot be written: {error.strerror}. Choose another folder with --out."
