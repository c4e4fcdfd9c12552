"""A brevitas model as a QONNX graph: quantizers as nodes, BatchNorm unfused, the way FINN reads it."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import onnx
from onnx import numpy_helper

from edgekit.errors import BadInput, MissingDependency

if TYPE_CHECKING:
    import torch
    from torch import nn

OPSET = 13
LAYER = "edgekit.layer"
OUTPUT = "output"
INSIDE = frozenset({"act_quant", "weight_quant", "trunc_quant", "export_handler", "activation_impl"})


def to_qonnx(
    model: nn.Module, example: Mapping[str, torch.Tensor], *, output_names: tuple[str, ...] = (OUTPUT,)
) -> onnx.ModelProto:
    """Export for one sample, cleaned up; nodes carry the path of their layer. Equal models give equal bytes.

    example: {input name: tensor [1, ...]}. Raises BadInput where the exporter cannot follow the model.
    """
    exporter, wrapper, cleanup = _libraries()
    flat, paths = _flat(copy.deepcopy(model).cpu().eval())
    options = {"input_names": list(example), "output_names": list(output_names)}
    inputs = tuple(value[:1].detach().cpu() for value in example.values())
    try:
        with _quiet():
            raw = exporter(flat, args=inputs, opset_version=OPSET, dynamo=False, **options)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"fpga: the model cannot be exported as QONNX: {type(error).__name__}: {reason[:200]}. Swap its layers "
            "for low-bit ones first."
        ) from error
    _mark_layers(raw, paths)
    with _quiet():
        cleaned: onnx.ModelProto = cleanup(wrapper(raw)).model
    _pad_in_convolutions(cleaned)
    _name_ends(cleaned, list(example), list(output_names))
    return cleaned


def _flat(model: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """A traced model with every module at the top under a name of its own, and {name: its path}.

    The exporter names a node by the last part of its module's path alone, which says too little.
    """
    from torch import fx

    if not isinstance(model, fx.GraphModule):
        return model, {}
    paths: dict[str, str] = {}
    for node in model.graph.nodes:
        if node.op == "call_module":
            name = f"m{len(paths)}_{str(node.target).replace('.', '_')}"
            node.target = paths.setdefault(name, str(node.target)) and name
    modules = {name: model.get_submodule(path) for name, path in paths.items()}
    return fx.GraphModule(modules, model.graph).eval(), paths


def _libraries() -> tuple[Any, Any, Any]:
    try:
        with _quiet():
            from brevitas.export import export_qonnx
            from qonnx.core.modelwrapper import ModelWrapper
            from qonnx.util.cleanup import cleanup_model
    except ImportError as error:
        raise MissingDependency(error.name or "brevitas", "fpga", "exporting QONNX") from error
    return export_qonnx, ModelWrapper, cleanup_model


def _mark_layers(model: onnx.ModelProto, paths: Mapping[str, str]) -> None:
    """Note each node's layer, from the module path in its name (`/stem.2/act_quant/...`)."""
    for node in model.graph.node:
        parts = [
            part for part in node.name.split("/")[1:-1] if part.partition("_")[0] and not _is_inside(part)
        ]
        layer = paths.get(parts[0], "") if parts and paths else parts[-1] if parts else ""
        if layer:
            node.metadata_props.add(key=LAYER, value=layer)


def _is_inside(part: str) -> bool:
    """Whether a part of a path belongs to brevitas, with or without the number the exporter adds."""
    name, _, number = part.rpartition("_")
    return part in INSIDE or (name in INSIDE and number.isdigit())


def _pad_in_convolutions(model: onnx.ModelProto) -> None:
    """A Pad of zeros that only convolutions read becomes their padding, which FINN takes; a Pad it does not."""
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for pad in [node for node in model.graph.node if node.op_type == "Pad" and node.input[1] in constants]:
        takers = [node for node in model.graph.node if pad.output[0] in node.input]
        if any(node.op_type != "Conv" for node in takers):
            continue
        widths = (
            constants[pad.input[1]].reshape(2, -1)[:, 2:].reshape(-1)
        )  # of height and width, before and after
        for conv in takers:
            pads = next(item for item in conv.attribute if item.name == "pads")
            pads.ints[:] = [int(old + new) for old, new in zip(pads.ints, widths, strict=True)]
            conv.input[0] = pad.input[0]
        model.graph.node.remove(pad)


def _name_ends(model: onnx.ModelProto, inputs: list[str], outputs: list[str]) -> None:
    """Give inputs and outputs the names they had before the clean-up."""
    new = dict(zip([item.name for item in model.graph.input], inputs, strict=False))
    new |= dict(zip([item.name for item in model.graph.output], outputs, strict=False))
    for item in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        item.name = new.get(item.name, item.name)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
    for note in model.graph.quantization_annotation:
        note.tensor_name = new.get(note.tensor_name, note.tensor_name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters from telling what a user cannot act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
