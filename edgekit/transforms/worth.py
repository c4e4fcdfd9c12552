"""Which widths are worth having on a board: those that its table predicts to be no slower than narrower ones."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import torch
from torch import nn

from edgekit.analysis.coupling import Group
from edgekit.analysis.layers import example_on, in_evaluation
from edgekit.errors import BadInput
from edgekit.job import call
from edgekit.predict.graph import read_kernels
from edgekit.predict.predict import Predictor
from edgekit.predict.sketch import Sketch, rough_quantization
from edgekit.predict.table import load_table
from edgekit.quant.writer import write_qdq
from edgekit.target import find_target

if TYPE_CHECKING:
    from edgekit.job import Job

SLACK = 1.01  # of the time; a wider layer within it counts as no slower
MULTIPLES = (1, 4, 8, 16)  # of channels, in which registers and blocks of registers are filled
REACH = 16  # channels above the asked width that are tried, for each layer whose outputs lie side by side


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer whose width can change: what of it its time depends on besides the widths."""

    name: str
    inputs: int
    outputs: int
    groups: int
    size: tuple[int, ...]  # of its input, without batch and channels
    shape: tuple[tuple[int, ...], ...] = ()  # kernel, stride, padding, dilation of a convolution


class Worth:
    """Milliseconds of all convolutions and linear layers at given widths of the groups, from a table.

    precision: "fp32" or "int8", the form that will run. Layers are optimized by this machine's runtime.
    """

    def __init__(
        self, model: nn.Module, groups: tuple[Group, ...], job: Job, *, table: Path, precision: str
    ) -> None:
        known = load_table(table)
        self._predictor, self._target = Predictor(known), find_target(known.facts["target"])
        if job.caps is None:
            raise BadInput(
                "prune: a table decides widths on a board, and none was named. Add boards: [this-machine]."
            )
        self._groups, self._caps, self._precision = groups, job.caps, precision
        self._layers = _layers(model, job)
        self._time = lru_cache(maxsize=None)(self._predicted)

    def milliseconds(self, widths: Mapping[str, int]) -> float:
        """Of every layer, where the group of each root has so many channels and all others are as they are."""
        return sum(self._time(self._at(layer, widths)) for layer in self._layers)

    def widest(self, widths: Mapping[str, int], steps: Mapping[str, int]) -> dict[str, int]:
        """The widths, raised together to the multiple that is fastest, then each as far as that time allows.

        Together first, because layers of full registers are fast only between others of them. steps: what each width
        is a multiple of.
        """
        starts = [self._raised(widths, steps, multiple) for multiple in MULTIPLES]
        found = min(starts, key=self.milliseconds)
        for group in self._groups:
            if group.root in found:
                most = self.milliseconds(found) * SLACK
                for wider in self._wider(group, found[group.root], steps[group.root]):
                    if self.milliseconds({**found, group.root: wider}) <= most:
                        found[group.root] = wider
                        break
        return found

    def _raised(self, widths: Mapping[str, int], steps: Mapping[str, int], multiple: int) -> dict[str, int]:
        most = {group.root: group.width for group in self._groups}
        found = {}
        for root, width in widths.items():
            step = math.lcm(steps[root], multiple)
            raised = math.ceil(width / step) * step
            found[root] = raised if raised <= most[root] else width
        return found

    def _wider(self, group: Group, width: int, step: int) -> range:
        last = min(group.width, width + REACH * group.shares)
        return range(width + (last - width) // step * step, width, -step)

    def _at(self, layer: Layer, widths: Mapping[str, int]) -> Layer:
        sides = {"in": layer.inputs, "out": layer.outputs}
        groups = layer.groups
        for group in self._groups:
            kept = widths.get(group.root, group.width) / group.width
            for member in group.members:
                if member.layer != layer.name:
                    continue
                gone = round(len(member.channels) * (1 - kept))
                for side in ("in", "out") if member.side == "both" else (member.side,):
                    sides[side] -= gone
                if member.side == "both":
                    groups -= gone
        return Layer("", sides["in"], sides["out"], groups, layer.size, layer.shape)

    def _predicted(self, layer: Layer) -> float:
        graph = _sketch(layer)
        if self._precision == "int8":
            graph = write_qdq(graph, rough_quantization(graph, self._caps), self._caps)
        with tempfile.TemporaryDirectory(prefix="edgekit-worth-") as folder:
            path = Path(folder) / "layer.onnx"
            onnx.save(graph, path)
            kernels = [pair for pair in read_kernels(path, self._target) if pair[1].macs]
        found = self._predictor.predict(kernels)
        if found.unknown:
            raise BadInput(
                f"prune: the table does not know {found.unknown[0]}. Build it anew, or drop table."
            )
        return sum(item.microseconds or 0.0 for item in found.kernels) / 1e3


def _sketch(layer: Layer) -> onnx.ModelProto:
    sketch = Sketch((layer.inputs, *layer.size))
    if not layer.shape:
        return sketch.model(sketch.linear("input", layer.outputs))
    kernel, stride, padding, dilation = layer.shape
    return sketch.model(
        sketch.conv(
            "input",
            layer.outputs,
            kernel,
            stride=stride,
            groups=layer.groups,
            padding=padding,
            dilation=dilation,
        )
    )


def _layers(model: nn.Module, job: Job) -> list[Layer]:
    """Every Conv2d and Linear (of vectors) that the example reaches, with the size of its input there."""
    found: dict[str, Layer] = {}

    def note(name: str) -> Any:
        def hook(module: Any, inputs: tuple[torch.Tensor, ...], _: Any) -> None:
            found[name] = _layer(name, module, tuple(inputs[0].shape))

        return hook

    kinds = (nn.Conv2d, nn.Linear)
    hooks = [m.register_forward_hook(note(name)) for name, m in model.named_modules() if isinstance(m, kinds)]
    try:
        with in_evaluation(model), torch.no_grad():
            call(model, example_on(model, job.example))
    finally:
        for hook in hooks:
            hook.remove()
    return list(found.values())


def _layer(name: str, module: Any, shape: tuple[int, ...]) -> Layer:
    if isinstance(module, nn.Linear):
        return Layer(name, module.in_features, module.out_features, 1, ())
    if not isinstance(module.padding, tuple) or module.padding_mode != "zeros":
        raise BadInput(
            f"prune: {name} pads in a way that a table does not know. Drop table, or exclude '{name}'."
        )
    form = (module.kernel_size, module.stride, module.padding, module.dilation)
    return Layer(name, module.in_channels, module.out_channels, module.groups, shape[2:], form)
