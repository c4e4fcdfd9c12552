"""Swapping a float torch model's layers for brevitas ones, as FINN takes them.

Each Conv2d and Linear gets a quantized weight, each ReLU, ReLU6 and Hardtanh becomes a quantizer, and each of these
is put in where a value has none yet: at the input, before a layer or a pooling that would read floats (a signed one,
as behind a linear bottleneck), and before an addition, whose operands share one scale. Float weights and BatchNorms
stay as they are, unfused: training at few bits wants them, and FINN makes thresholds of them.

An average pooling becomes TruncAvgPool2d, which floors (the only rounding FINN has): out = floor(sum / 2^k), with
the scale corrected for the window's size. A global one over a map that is not square is averaged, then quantized;
FINN takes that form with its steps for residual networks alone. A maximum pooling right before an activation moves
behind it, where it compares integers; the result is the same.
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
from edgekit.quant.low_bit_plan import LARGEST, LowBitPlan
from edgekit.quant.traced import free_path, insert_call, insert_module, module_at, trace

WHERE = "low bits"
WEIGHTED = (nn.Conv2d, nn.Linear)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
MOVING = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
MOVING_FUNCTIONS = (torch.flatten, torch.reshape, "flatten", "reshape", "view", "contiguous")
SHAPES = ("size", "dim", getattr, operator.getitem, operator.mul, operator.floordiv)
ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
SUMMAND = 2  # bits more than an activation has: of a sum of 4-bit operands too little is left (ResNet-8, measured)
FEWEST = 2  # bits of a summand or of what is averaged: bipolar ones would lose what the sum tells

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
}


@dataclass(frozen=True)
class Grid:
    """What is known of a value on a grid: its bits, its sign, and the module that says so when asked."""

    bits: int
    signed: bool
    path: str  # "" where no module hands on the scale with the value


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
        _pool_after_activation(self.traced)
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
        elif isinstance(module, MOVING) or node.target in MOVING_FUNCTIONS:
            source = self.grids.get(node.args[0])  # type: ignore[arg-type]
            self._move(node, source and replace(source, path=""))
        elif node.target in ADDITIONS:
            self._addition(node)
        elif not (isinstance(module, NORMS) or node.op == "output" or node.target in SHAPES):
            raise self._refusal(node, module)

    def _rule(self, path: str, *keys: str, **defaults: int) -> dict[str, Any]:
        """The plan's settings at a path, and a note of those that count there."""
        whole = self.plan.rule(path, first=path == self.first, last=path == self.last, **defaults)
        self.rules[path] = {key: whole[key] for key in keys}
        return self.rules[path]

    def _input(self, node: fx.Node) -> None:
        bits, signed = self.plan.input, self.plan.input_signed
        module = quantizers.identity(bits, signed=signed, power_of_two=self.plan.power_of_two)
        path = free_path(self.traced, f"{node.name}_quantizer")
        quantized = insert_module(self.traced, node, path, module)
        node.replace_all_uses_with(quantized, delete_user_cb=lambda user: user is not quantized)
        self.grids[quantized] = Grid(bits, signed or bits == 1, path)

    def _weighted(self, node: fx.Node, module: nn.Module) -> None:
        path = str(node.target)
        self._on_grid(node)
        if path in self.rules:  # called before: one weight, one quantizer
            return
        rule = self._rule(path, "weights", "per_channel", "power_of_two")
        options = quantizers.weight_options(
            module.weight,  # type: ignore[arg-type]
            rule["weights"],
            per_channel=rule["per_channel"],
            power_of_two=rule["power_of_two"],
        )
        new = _conv(path, module, options) if isinstance(module, nn.Conv2d) else _linear(module, options)
        self._put(path, new)

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
        path, window, whole = (
            str(node.target),
            _window(node, module),
            isinstance(module, nn.AdaptiveAvgPool2d),
        )
        rule = self._rule(
            path, "activations", activations=self.plan.pooled if whole else self.plan.activations
        )
        source = self._on_grid(node, FEWEST)
        if source.bits < FEWEST:
            raise BadInput(
                f"{WHERE}: '{path}' averages bipolar activations, which leaves too little of them. Give "
                f"{source.path or 'them'} 2 bits (layers: {{'{source.path or '*'}': {{activations: 2}}}})."
            )
        if window is None:
            self._averaged_then_quantized(node, path, max(FEWEST, rule["activations"]), source.signed)
            return
        if not source.path:
            source = self._insert(node, 0, source.signed, FEWEST)
        self.traced.get_submodule(source.path).return_quant_tensor = True  # type: ignore[assignment]
        kernel, stride = window
        bits = min(rule["activations"], source.bits + math.ceil(math.log2(kernel * kernel)))
        self._put(path, _trunc_pool(kernel, stride, bits))
        self.grids[node] = Grid(bits, source.signed, "")

    def _averaged_then_quantized(self, node: fx.Node, path: str, bits: int, signed: bool) -> None:
        new = quantizers.identity(bits, signed=signed, power_of_two=self.plan.power_of_two)
        after = free_path(self.traced, f"{path}_output")
        quantized = insert_module(self.traced, node, after, new)
        node.replace_all_uses_with(quantized, delete_user_cb=lambda user: user is not quantized)
        self.grids[quantized] = Grid(bits, signed, after)

    def _addition(self, node: fx.Node) -> None:
        """Both operands pass one quantizer: integers of two scales have no integer sum."""
        if len(node.args) != 2 or not all(isinstance(item, fx.Node) for item in node.args) or node.kwargs:
            raise BadInput(
                f"{WHERE}: '{node.name}' adds something else than two activations. Fold the constant into a bias."
            )
        operands: list[Any] = list(node.args)
        signed = any(grid is None or grid.signed for grid in map(self.grids.get, operands))
        path = free_path(self.traced, f"{node.name}_quantizer")
        more = min(LARGEST, self.plan.activations + SUMMAND)
        rule = self._rule(path, "activations", "power_of_two", activations=more)
        bits = max(FEWEST, rule["activations"])
        new = quantizers.identity(bits, signed=signed, power_of_two=rule["power_of_two"])
        self.traced.add_submodule(path, new)
        calls: list[Any] = []
        for operand in operands:
            with self.traced.graph.inserting_before(node):
                calls.append(self.traced.graph.call_module(path, (operand,)))
        node.args = tuple(calls)

    def _on_grid(self, node: fx.Node, fewest: int = 1) -> Grid:
        """What is known of a node's input, which gets a signed quantizer where it has none."""
        found = self.grids.get(node.args[0])  # type: ignore[arg-type]
        return found if found is not None else self._insert(node, 0, True, fewest)

    def _insert(self, node: fx.Node, position: int, signed: bool, fewest: int = 1) -> Grid:
        path = free_path(self.traced, f"{node.target}_input")
        rule = self._rule(path, "activations", "power_of_two")
        bits = max(fewest, rule["activations"])
        new = quantizers.identity(bits, signed=signed, power_of_two=rule["power_of_two"])
        source: Any = node.args[position]
        quantized = insert_module(self.traced, source, path, new)
        node.replace_input_with(source, quantized)
        self.grids[quantized] = Grid(bits, signed or bits == 1, path)
        return self.grids[quantized]

    def _move(self, node: fx.Node, grid: Grid | None) -> None:
        if grid is not None:
            self.grids[node] = grid

    def _put(self, path: str, module: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(self.traced.get_submodule(parent), name, module)

    def _refusal(self, node: fx.Node, module: nn.Module | None) -> BadInput:
        kind = (
            type(module).__name__
            if module is not None
            else getattr(node.target, "__name__", str(node.target))
        )
        place = str(node.target) if module is not None else node.name
        remedy = REMEDIES.get(kind, "Use nn.ReLU, or keep this part of the model off the FPGA")
        return BadInput(f"{WHERE}: '{place}' ({kind}) has no low-bit form for FINN. {remedy}.")


def _pool_after_activation(traced: fx.GraphModule) -> None:
    """act(pool(x)) becomes pool(act(x)): equal, since an activation never falls, and pooled in integers."""
    for node in list(traced.graph.nodes):
        pool = node.args[0] if node.args else None
        if not isinstance(module_at(traced, node), ACTIVATIONS) or not isinstance(pool, fx.Node):
            continue
        if not isinstance(module_at(traced, pool), nn.MaxPool2d) or len(pool.users) > 1:
            continue
        act = insert_call(traced, pool.args[0], str(node.target))  # type: ignore[arg-type]
        pool.args = (act,)
        node.replace_all_uses_with(pool)
        traced.graph.erase_node(node)
    traced.recompile()


def _window(node: fx.Node, module: nn.AvgPool2d | nn.AdaptiveAvgPool2d) -> tuple[int, int] | None:
    """(kernel, stride) of a square window; None for the whole of a map that is not square."""
    shape = node.args[0].meta["tensor_meta"].shape  # type: ignore[union-attr]
    if isinstance(module, nn.AdaptiveAvgPool2d):
        if _pair(module.output_size) != (1, 1):
            raise BadInput(f"{WHERE}: '{node.target}' pools to {module.output_size}, not to 1. Pool to 1.")
        return (int(shape[2]), int(shape[2])) if shape[2] == shape[3] else None
    kernel, stride, padding = map(_pair, (module.kernel_size, module.stride, module.padding))
    if len({*kernel}) > 1 or len({*stride}) > 1 or any(padding) or module.ceil_mode:
        raise BadInput(
            f"{WHERE}: '{node.target}' averages windows of {kernel} by {stride}, padding {padding}; FINN averages "
            "square windows without padding. Use one, or a convolution with stride 2."
        )
    return kernel[0], stride[0]


def _pair(value: Any) -> tuple[Any, Any]:
    return (value[0], value[-1]) if isinstance(value, (tuple, list)) else (value, value)


def _conv(path: str, old: nn.Conv2d, options: dict[str, Any]) -> nn.Module:
    if old.padding_mode != "zeros":
        raise BadInput(
            f"{WHERE}: '{path}' pads by '{old.padding_mode}'; FINN pads zeros. Use padding_mode='zeros'."
        )
    padding = old.padding
    if isinstance(padding, str):
        padding = tuple(
            0 if padding == "valid" else d * (k - 1) // 2 for d, k in zip(old.dilation, old.kernel_size)
        )
    new = quantizers.brevitas_nn().QuantConv2d(
        old.in_channels,
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=padding,
        dilation=old.dilation,
        groups=old.groups,
        bias=old.bias is not None,
        **options,
    )
    return _with_weights(new, old)


def _linear(old: nn.Module, options: dict[str, Any]) -> nn.Module:
    assert isinstance(old, nn.Linear), "the caller asked"
    new = quantizers.brevitas_nn().QuantLinear(
        old.in_features, old.out_features, bias=old.bias is not None, **options
    )
    return _with_weights(new, old)


def _with_weights(new: Any, old: Any) -> nn.Module:
    with torch.no_grad():
        new.weight.copy_(old.weight)
        if old.bias is not None:
            new.bias.copy_(old.bias)
    return new  # type: ignore[no-any-return]


def _trunc_pool(kernel: int, stride: int, bits: int) -> nn.Module:
    from brevitas.quant.scaled_int import TruncTo8bit

    return quantizers.brevitas_nn().TruncAvgPool2d(  # type: ignore[no-any-return]
        kernel,
        stride,
        trunc_quant=TruncTo8bit,
        bit_width=bits,
        float_to_int_impl_type="floor",
        return_quant_tensor=False,
    )
