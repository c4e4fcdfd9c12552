"""Importance: how much each unit of a coupled group matters, by the criterion that the recipe names.

A criterion is a function (model, group, context) -> scores [units], or None where the group lacks what it
reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgekit.analysis.coupling import Group, Member
from edgekit.analysis.layers import device_of, in_evaluation
from edgekit.errors import BadInput
from edgekit.fit import to_device
from edgekit.job import call


@dataclass(frozen=True)
class Context:
    """What a criterion may read besides the weights."""

    generator: torch.Generator
    loss: Callable[[Any, Any], torch.Tensor] | None = None
    batches: tuple[Any, ...] = ()


Criterion = Callable[[nn.Module, tuple[Group, ...], Context], list["torch.Tensor | None"]]


def l1(model: nn.Module, groups: tuple[Group, ...], context: Context) -> list[torch.Tensor | None]:
    """Sum of |w| of the filters that make a unit (Li et al., 2017), each layer scaled to mean 1, mean over
    layers.
    """
    return [_filter_norms(model, group, 1) for group in groups]


def l2(model: nn.Module, groups: tuple[Group, ...], context: Context) -> list[torch.Tensor | None]:
    """sqrt(sum w^2) of the filters that make a unit, each layer scaled to mean 1, mean over layers."""
    return [_filter_norms(model, group, 2) for group in groups]


def batchnorm(model: nn.Module, groups: tuple[Group, ...], context: Context) -> list[torch.Tensor | None]:
    """|gamma| of the group's normalizations (Liu et al., 2017, network slimming), scaled and averaged as in
    `l1`.
    """
    return [_norm_scales(model, group) for group in groups]


def uniform(model: nn.Module, groups: tuple[Group, ...], context: Context) -> list[torch.Tensor | None]:
    """Random numbers in [0, 1): the control that every criterion must beat."""
    return [torch.rand(group.width, generator=context.generator) for group in groups]


def taylor(model: nn.Module, groups: tuple[Group, ...], context: Context) -> list[torch.Tensor | None]:
    """Mean over batches of (dL/da)^2, `a` a factor on the unit as all its readers see it.

    dL/da = sum over the readers of sum(g * w) over the weights that read the unit: exactly the first-order
    change of the loss when the unit is set to zero. In evaluation mode. Source: Molchanov et al., 2019.
    """
    if context.loss is None or not context.batches:
        raise BadInput(
            "prune: by 'taylor' ranks with gradients, and there is no training data. Give data with a "
            "train part, or choose by: l2."
        )
    total = [torch.zeros(group.width, dtype=torch.float64) for group in groups]
    for inputs, targets in context.batches:
        gradients = _gradients(model, context.loss, inputs, targets)
        for score, group in zip(total, groups, strict=True):
            score += _gate_gradient(model, group, gradients) ** 2
    return [score / len(context.batches) for score in total]


CRITERIA: dict[str, Criterion] = {
    "l1": l1,
    "l2": l2,
    "batchnorm": batchnorm,
    "taylor": taylor,
    "random": uniform,
}


def labelled(batches: Iterable[Any], count: int) -> tuple[Any, ...]:
    """The first `count` (input, target) pairs of the training data."""
    found: list[Any] = []
    for batch in batches:
        if len(found) == count:
            break
        if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
            raise BadInput(
                "prune: by 'taylor' needs targets, and the training data has none. Give batches (input, "
                "target), or choose by: l2."
            )
        found.append((batch[0], batch[1]))
    return tuple(found)


def _filter_norms(model: nn.Module, group: Group, power: int) -> torch.Tensor | None:
    found = []
    for member in group.members:
        module = _module(model, member)
        if member.side != "in" and isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            rows = output_rows(module)
            found.append((rows.abs().pow(power).sum(dim=1).pow(1 / power), member))
    return _mean_over_members(found, group.width)


def _norm_scales(model: nn.Module, group: Group) -> torch.Tensor | None:
    norms = (
        nn.modules.batchnorm._BatchNorm,
        nn.modules.instancenorm._InstanceNorm,
        nn.GroupNorm,
        nn.LayerNorm,
    )
    found = []
    for member in group.members:
        module = _module(model, member)
        if isinstance(module, norms) and module.weight is not None:
            found.append((module.weight.detach().abs().cpu(), member))
    return _mean_over_members(found, group.width)


def output_rows(module: Any) -> torch.Tensor:
    """The weights of a convolution or linear layer as [outputs, weights of one output]."""
    weight = module.weight.detach().cpu()
    if not getattr(module, "transposed", False):
        return weight.flatten(1)
    parts = weight.chunk(module.groups, dim=0)
    return torch.cat([part.transpose(0, 1).flatten(1) for part in parts])


def _mean_over_members(found: list[tuple[torch.Tensor, Member]], width: int) -> torch.Tensor | None:
    """Mean over members of score / mean(score), by unit; None where there is no member."""
    if not found:
        return None
    total, count = torch.zeros(width), torch.zeros(width)
    for scores, member in found:
        own = scores[torch.as_tensor(member.channels)].float()
        units = torch.as_tensor(member.units)
        total.index_add_(0, units, own / own.mean().clamp_min(1e-12))
        count.index_add_(0, units, torch.ones(len(units)))
    return total / count.clamp_min(1)


def _gradients(model: nn.Module, loss: Any, inputs: Any, targets: Any) -> dict[str, torch.Tensor]:
    device = str(device_of(model))
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    with in_evaluation(model), torch.enable_grad():
        value = loss(call(model, to_device(inputs, device)), to_device(targets, device))
        found = torch.autograd.grad(value, [parameter for _, parameter in named], allow_unused=True)
    return {name: gradient for (name, _), gradient in zip(named, found, strict=True) if gradient is not None}


def _gate_gradient(model: nn.Module, group: Group, gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    total = torch.zeros(group.width, dtype=torch.float64)
    for member in group.members:
        if member.side != "in":
            continue
        gradient = gradients.get(f"{member.layer}.weight")
        if gradient is not None:
            module = _module(model, member)
            columns = _input_sums(module, (gradient * module.weight.detach()).double().cpu())
            total.index_add_(0, torch.as_tensor(member.units), columns[torch.as_tensor(member.channels)])
    return total


def _input_sums(module: Any, product: torch.Tensor) -> torch.Tensor:
    """Sums of a tensor shaped like the weight over all weights that read one input channel, [inputs]."""
    if getattr(module, "transposed", False):
        return product.flatten(1).sum(dim=1)
    parts = product.chunk(getattr(module, "groups", 1), dim=0)
    return torch.cat([part.transpose(0, 1).flatten(1).sum(dim=1) for part in parts])


def _module(model: nn.Module, member: Member) -> Any:
    return None if member.side.startswith("parameter:") else model.get_submodule(member.layer)
