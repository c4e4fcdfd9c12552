"""torch model -> fused fp32 ONNX graph, by torch's exporter and our clean-up passes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from edgekit.errors import BadInput
from edgekit.export.graph import mark_sites
from edgekit.export.passes import clean
from edgekit.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


def to_onnx(
    model: nn.Module,
    example: dict[str, torch.Tensor],
    *,
    fuse: bool = True,
    output_names: list[str] | None = None,
) -> onnx.ModelProto:
    """Export a model in evaluation mode; the batch stays free (`N`) where the model allows it.

    example: {input name: tensor [1, ...]}. Every node carries its source site in its metadata.
    Raises BadInput naming the reason where torch cannot trace the model.
    """
    from edgekit.export.fuse import fuse_batchnorm

    model = fuse_batchnorm(model, example)[0] if fuse else model.eval()
    try:
        exported = _export(model, example, batch=True, output_names=output_names)
    except Exception:  # a model that fixes its batch is exported with it
        try:
            exported = _export(model, example, batch=False, output_names=output_names)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadInput(
                f"model: torch cannot trace it: {type(error).__name__}: {reason[:300]}. Take "
                "data-dependent Python control flow out of forward."
            ) from error
    return finish(exported)


def finish(model: onnx.ModelProto) -> onnx.ModelProto:
    """Clean a graph, infer its shapes and mark its sites; makes node names unique."""
    model = onnx.shape_inference.infer_shapes(clean(onnx.shape_inference.infer_shapes(model)))
    _name_nodes(model)
    mark_sites(model.graph.node)
    return model


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read anyone's ONNX file as a cleaned fp32 graph; BadInput where it is no ONNX file or already quantized."""
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise BadInput(f"model: there is no file '{path}'. Check the path.") from error
    except Exception as error:
        raise BadInput(
            f"model: '{path}' is not a valid ONNX file: {str(error).strip().splitlines()[0][:200]}. Export "
            "it again."
        ) from error
    if any(
        node.op_type in ("QuantizeLinear", "QLinearConv", "DynamicQuantizeLinear")
        for node in model.graph.node
    ):
        raise BadInput(f"model: '{path}' is quantized already. Give the float model it was made from.")
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    if opset < 17:  # per-channel DequantizeLinear needs 13; 17 is the oldest we test
        model = onnx.version_converter.convert_version(model, 17)
    return finish(_folded(model))


def signature_of(model: onnx.ModelProto) -> Signature:
    """The signature of an ONNX graph (preprocessing unknown)."""
    constants = {item.name for item in model.graph.initializer}
    inputs = tuple(_spec(value) for value in model.graph.input if value.name not in constants)
    return Signature(inputs=inputs, outputs=tuple(_spec(value) for value in model.graph.output))


def _export(
    model: nn.Module, example: dict[str, torch.Tensor], *, batch: bool, output_names: list[str] | None
) -> onnx.ModelProto:
    import torch

    # torch.export takes a dimension of 1 as fixed, so the free batch is traced with 2 samples
    args = tuple(torch.cat([value, value]) if batch else value for value in example.values())
    shapes: Any = tuple({0: torch.export.Dim("N")} for _ in args) if batch else None
    with silence():
        program = torch.onnx.export(
            model,
            args,
            dynamo=True,
            dynamic_shapes=shapes,
            verbose=False,
            input_names=list(example),
            output_names=output_names or ["output"],
        )
    assert program is not None  # dynamo=True without a file always returns a program
    return program.model_proto


@contextmanager
def silence() -> Iterator[None]:
    """Keep the exporter from telling what a user cannot act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxscript import optimizer

    try:
        return optimizer.optimize(model)
    except Exception:  # constant folding is a help, not a need
        return model


def _name_nodes(model: onnx.ModelProto) -> None:
    seen: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{index}"
        seen.add(node.name)


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "N") for dim in tensor.shape.dim
    )
    return TensorSpec(value.name, dtype, shape)
