"""Swapping a float torch model's layers for brevitas ones, as FINN takes them.

Each Conv2d and Linear gets a quantized weight, each ReLU, ReLU6 and Hardtanh becomes a quantizer, and each of these
is put in where a value has none yet: at the input, before a layer or a pooling that would read floats (a signed one,
as behind a linear bottleneck), and before an addition, whose operands share one scale. Float weights and BatchNorms
stay as they are, unfused: training at few bits wants them, and FINN makes thresholds of them.

An average pooling becomes TruncAvgPool2d, which floors (the only rounding FINN has): out = floor(sum / 2^k), with
the scale corrected for the window's size. A global one over a map that is not square is averaged, then quantized;
FINN takes that form with its steps for residual networks alone.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from edgekit.analysis.layers import device_of, example_on, in_evaluation
from edgekit.errors import BadInput
from edgekit.quant import brevitas_quantizers as quantizers
from edgekit.quant.brevitas_twins import WHERE, averaging, padding_of, twin, window
from edgekit.quant.low_bit_plan import LARGEST, LowBitPlan
from edgekit.quant.traced import ACTIVATIONS, free_path, insert_module, module_at, trace

WEIGHTED = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
MOVING = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
MOVING_FUNCTIONS = (torch.flatten, torch.reshape, "flatten", "reshape", "view", "contiguous")
SHAPES = ("size", "dim", getattr, operator.getitem, operator.mul, operator.floordiv)
ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
SUMMAND = 2  # bits more than an activation has: of 4-bit operands a sum loses too much (measured on ResNet-8)
FEWEST = 2  # bits of a summand or of what is averaged: a bipolar one would lose what the sum tells

REMEDIES: Mapping[str, str] = {
    "ConvTranspose2d": "Keep the decoder off the FPGA, or upsample before the first layer",
    "Conv1d": "Write it as a Conv2d with a kernel [k, 1]",
    "LayerNorm": "Use BatchNorm, which becomes thresholds",
    "GroupNorm": "Use BatchNorm, which becomes thresholds",
    "InstanceNorm2d": "Use BatchNorm, which becomes thresholds",
    "Softmax": "Leave it out: the largest output stays the largest",
    "LogSoftmax": "Leave it out: the largest output stays the largest",
    "ZeroPad2d": "Pad in the convolution (padding=...)",
    "cat": "Add the branches instead of concatenating them",
    "mul": "Leave the gate out",
    "get_attr": "Use the module (nn.Linear, nn.Conv2d) instead of its function",
}


@dataclass(frozen=True)
class Grid:
    """What is known of a value on a grid: its bits, its sign, and the module that put it there."""

    bits: int
    signed: bool
    path: str
    adjacent: bool = (
        True  # whether that module gave it; FINN looks for an average's sign there and nowhere else
    )


def swap(model: nn.Module, example: Mapping[str, torch.Tensor], plan: Mapping[str, Any]) -> fx.GraphModule:
    """A low-bit copy of a float model, as `plan` says (JSON, see `low_bit_plan`); paths of weights stay.

    example: {input name: tensor [1, ...]}. The same plan on a fresh model gives the same modules, so that
    `load_state_dict` restores a trained one. BadInput names what FINN has no low-bit form of.
    """
    return _Swap(model, example, LowBitPlan.from_json(plan)).result


def resolve(model: nn.Module, example: Mapping[str, torch.Tensor], plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with the settings of every layer and quantizer of this model written out; `swap` takes it."""
    swapped = _Swap(model, example, LowBitPlan.from_json(plan))
    return swapped.plan.resolved(swapped.rules)


def calibrate(model: nn.Module, batches: Iterable[Any]) -> None:
    """Set the scales of activations from inputs (a tensor, an array, a tuple or a dict of them a batch).

    Values are computed in float while statistics are taken; BadInput where there is no batch.
    """
    from brevitas.graph.calibrate import calibration_mode

    device, count = device_of(model), 0
    with torch.no_grad(), in_evaluation(model), calibration_mode(model):
        for batch in batches:
            model(*(torch.as_tensor(value).to(device) for value in _values(batch)))
            count += 1
    if not count:
        raise BadInput(f"{WHERE}: there is no batch to calibrate with. Give at least one.")


def _values(batch: Any) -> list[Any]:
    if isinstance(batch, Mapping):
        return list(batch.values())
    return [batch] if isinstance(batch, (torch.Tensor, np.ndarray)) else list(batch)


class _Swap:
    """One walk over a traced model, from input to output."""

    def __init__(self, model: nn.Module, example: Mapping[str, torch.Tensor], plan: LowBitPlan) -> None:
        quantizers.brevitas_nn()
        self.plan, self.rules = plan, dict[str, dict[str, Any]]()
        self.grids: dict[fx.Node, Grid] = {}
        self.traced = trace(model, where=WHERE)
        with torch.no_grad(), in_evaluation(self.traced):
            ShapeProp(self.traced).propagate(*example_on(self.traced, example))  # type: ignore[no-untyped-call]
        weighted = [
            node for node in self.traced.graph.nodes if isinstance(module_at(self.traced, node), WEIGHTED)
        ]
        if not weighted:
            raise BadInput(f"{WHERE}: the model has no Conv2d and no Linear. There is nothing to quantize.")
        self.first, self.last = str(weighted[0].target), str(weighted[-1].target)
        with torch.random.fork_rng(devices=[]):
            for node in list(self.traced.graph.nodes):
                self._visit(node)
        plan.check_globs(self.rules)
        self.traced.graph.lint()
        self.traced.recompile()
        self.result = self.traced.to(device_of(model)).train(model.training)

    def _visit(self, node: fx.Node) -> None:
        module = module_at(self.traced, node)
        if node.op == "placeholder":
            self._input(node)
        elif isinstance(module, WEIGHTED):
            self._weighted(node, module)
        elif isinstance(module, ACTIVATIONS):
            self._activation(node, module)
        elif isinstance(module, nn.MaxPool2d):
            self._move(node, self._on_grid(node))
        elif isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
            self._average(node, module)
        elif isinstance(module, MOVING) or node.target in MOVING_FUNCTIONS or self._pads_a_convolution(node):
            source = self.grids.get(node.args[0])  # type: ignore[arg-type]
            if source and isinstance(module, nn.ZeroPad2d):
                self._refuse_bipolar(
                    source, f"'{node.target}' pads bipolar values with 0, which FINN reads as -1"
                )
            self._move(node, source)
        elif node.target in ADDITIONS:
            self._addition(node)
        elif not (isinstance(module, NORMS) or node.op == "output" or self._is_shape(node)):
            raise self._refusal(node, module)

    def _rule(self, path: str, *keys: str, **defaults: int) -> dict[str, Any]:
        """The plan's settings at a path, and a note of those that count there."""
        whole = self.plan.rule(path, first=path == self.first, last=path == self.last, **defaults)
        self.rules[path] = {key: whole[key] for key in keys}
        return self.rules[path]

    def _identity(
        self, path: str, signed: bool, *, fewest: int = 1, **defaults: int
    ) -> tuple[nn.Module, Grid]:
        """A quantizer for `path`, with the plan's bits there but not fewer than `fewest`."""
        rule = self._rule(path, "activations", "power_of_two", **defaults)
        bits = max(fewest, rule["activations"])
        module = quantizers.identity(bits, signed=signed, power_of_two=rule["power_of_two"])
        return module, Grid(bits, signed or bits == 1, path)

    def _behind(self, node: fx.Node, path: str, signed: bool, *, fewest: int = 1, **defaults: int) -> None:
        """Quantize what a node gives, for all that read it."""
        path = free_path(self.traced, path)
        module, grid = self._identity(path, signed, fewest=fewest, **defaults)
        quantized = insert_module(self.traced, node, path, module)
        node.replace_all_uses_with(quantized, delete_user_cb=lambda user: user is not quantized)
        self.grids[quantized] = grid

    def _in_front(self, node: fx.Node, signed: bool, *, fewest: int = 1) -> Grid:
        """Quantize what a node reads, for it alone."""
        path, source = free_path(self.traced, f"{node.target}_input"), node.args[0]
        assert isinstance(source, fx.Node), "layers and poolings read one tensor"
        module, grid = self._identity(path, signed, fewest=fewest)
        quantized = insert_module(self.traced, source, path, module)
        node.replace_input_with(source, quantized)
        self.grids[quantized] = grid
        return grid

    def _on_grid(self, node: fx.Node, *, fewest: int = 1) -> Grid:
        """What is known of a node's input, which gets a signed quantizer where it has none."""
        found = self.grids.get(node.args[0])  # type: ignore[arg-type]
        return found if found is not None else self._in_front(node, True, fewest=fewest)

    def _input(self, node: fx.Node) -> None:
        self._behind(node, f"{node.name}_quantizer", self.plan.input_signed, activations=self.plan.input)

    def _weighted(self, node: fx.Node, module: nn.Conv2d | nn.Linear) -> None:
        path = str(node.target)
        source = self._on_grid(node)
        if isinstance(module, nn.Conv2d) and any(padding_of(module)):
            self._refuse_bipolar(
                source, f"'{path}' pads bipolar values with 0, which FINN's hardware reads as -1"
            )
        if path in self.rules:  # called before: one weight, one quantizer
            return
        rule = self._rule(path, "weights", "per_channel", "power_of_two")
        options = quantizers.weight_options(
            module.weight,
            rule["weights"],
            per_channel=rule["per_channel"],
            power_of_two=rule["power_of_two"],
        )
        self._put(path, twin(path, module, options))

    def _activation(self, node: fx.Node, module: nn.Module) -> None:
        path = str(node.target)
        rule = self._rule(path, "activations", "power_of_two")
        bits, power_of_two = rule["activations"], rule["power_of_two"]
        if isinstance(module, nn.ReLU6):  # ReLU6 is a Hardtanh of torch's
            new, signed = quantizers.relu(bits, power_of_two=power_of_two, ceiling=6.0), False
        elif isinstance(module, nn.Hardtanh):
            low, high = float(module.min_val), float(module.max_val)
            new, signed = quantizers.hardtanh(bits, low, high, power_of_two=power_of_two), low < 0
        else:
            new, signed = quantizers.relu(bits, power_of_two=power_of_two), False
        self._put(path, new)
        self.grids[node] = Grid(bits, signed or bits == 1, path)

    def _average(self, node: fx.Node, module: nn.AvgPool2d | nn.AdaptiveAvgPool2d) -> None:
        path, whole = str(node.target), isinstance(module, nn.AdaptiveAvgPool2d)
        wanted = self.plan.pooled if whole else self.plan.activations
        found = window(node, module)  # before a quantizer is put in, whose shape is not known
        source = self._on_grid(node, fewest=FEWEST)
        self._refuse_bipolar(source, f"'{path}' averages bipolar values, which leaves too little of them")
        if found is None:
            self._behind(node, f"{path}_output", source.signed, fewest=FEWEST, activations=wanted)
            return
        if not source.adjacent:
            source = self._in_front(node, source.signed, fewest=FEWEST)
        self.traced.get_submodule(source.path).return_quant_tensor = True  # type: ignore[assignment]
        kernel, stride = found
        wanted = self._rule(path, "activations", activations=wanted)["activations"]
        bits = min(wanted, source.bits + math.ceil(math.log2(kernel * kernel)))
        self._put(path, averaging(kernel, stride, bits))
        self.grids[node] = Grid(bits, source.signed, path, adjacent=False)

    def _addition(self, node: fx.Node) -> None:
        """Both operands pass one quantizer: integers of two scales have no integer sum."""
        operands = [item for item in node.args if isinstance(item, fx.Node)]
        if len(operands) != 2 or len(node.args) != 2 or node.kwargs:
            raise BadInput(
                f"{WHERE}: '{node.name}' adds something else than two activations. Fold the constant into a bias."
            )
        signed = any(grid is None or grid.signed for grid in map(self.grids.get, operands))
        path = free_path(self.traced, f"{node.name}_quantizer")
        more = min(LARGEST, self.plan.activations + SUMMAND)
        self.traced.add_submodule(path, self._identity(path, signed, fewest=FEWEST, activations=more)[0])
        with self.traced.graph.inserting_before(node):
            node.args = tuple(self.traced.graph.call_module(path, (operand,)) for operand in operands)

    def _move(self, node: fx.Node, grid: Grid | None) -> None:
        if grid is not None:
            self.grids[node] = replace(grid, adjacent=False)

    def _pads_a_convolution(self, node: fx.Node) -> bool:
        """Whether a node pads zeros for convolutions alone, which take its widths over in QONNX."""
        zeros = isinstance(module_at(self.traced, node), nn.ZeroPad2d)
        return zeros and all(isinstance(module_at(self.traced, user), nn.Conv2d) for user in node.users)

    @staticmethod
    def _is_shape(node: fx.Node) -> bool:
        """Whether a node computes on sizes, not on values."""
        return node.target in SHAPES and "tensor_meta" not in node.meta

    def _put(self, path: str, module: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(self.traced.get_submodule(parent), name, module)

    @staticmethod
    def _refuse_bipolar(source: Grid, what: str) -> None:
        if source.bits < FEWEST:
            raise BadInput(
                f"{WHERE}: {what}. Give its input 2 bits (layers: {{'{source.path}': {{activations: 2}}}})."
            )

    @staticmethod
    def _refusal(node: fx.Node, module: nn.Module | None) -> BadInput:
        if module is not None:
            kind = type(module).__name__
        else:
            kind = node.op if node.op == "get_attr" else getattr(node.target, "__name__", str(node.target))
        place = str(node.target) if module is not None else node.name
        remedy = REMEDIES.get(kind, "Use nn.ReLU, or keep this part of the model off the FPGA")
        return BadInput(f"{WHERE}: '{place}' ({kind}) has no low-bit form for FINN. {remedy}.")
