"""What a torch model costs: parameters, multiply-accumulates of one sample, bytes of its float weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgekit.analysis.layers import example_on, in_evaluation
from edgekit.change import Cost
from edgekit.job import call


@dataclass(frozen=True)
class LayerCost:
    """A leaf layer's share: path, class name, parameters and multiply-accumulates of one sample."""

    layer: str
    kind: str
    params: int
    macs: int


def cost(model: nn.Module, example: Mapping[str, torch.Tensor]) -> Cost:
    """Parameters, MACs and bytes of a model; `example` {input name: tensor [1, ...]}.

    MACs = flops / 2 of every convolution, matrix product and attention that one forward pass executes,
    functional calls included; element-wise operations count nothing. A shared parameter counts once.
    """
    parameters = list(model.parameters())
    return Cost(
        params=sum(parameter.numel() for parameter in parameters),
        macs=_count(model, example).get_total_flops() // 2 // _batch(example),
        bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
    )


def layer_costs(model: nn.Module, example: Mapping[str, torch.Tensor]) -> list[LayerCost]:
    """The cost of every leaf layer that has parameters or MACs, in the order of `named_modules`.

    Functional calls in a module that is no leaf are reported under that module's own path.
    """
    flops = {name: sum(counts.values()) for name, counts in _count(model, example).get_flop_counts().items()}
    prefix = type(model).__name__
    rows = []
    for name, module in model.named_modules():
        path = f"{prefix}.{name}" if name else prefix
        below = sum(flops.get(f"{path}.{child}", 0) for child, _ in module.named_children())
        own = flops.get(path, 0) - below
        params = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if own or params:
            rows.append(LayerCost(name, type(module).__name__, params, own // 2 // _batch(example)))
    return rows


def _count(model: nn.Module, example: Mapping[str, torch.Tensor]) -> Any:
    counter = FlopCounterMode(display=False)
    with in_evaluation(model), torch.no_grad(), counter:
        call(model, example_on(model, example))
    return counter


def _batch(example: Mapping[str, torch.Tensor]) -> int:
    first = next(iter(example.values()))
    return max(1, first.shape[0]) if first.ndim else 1
