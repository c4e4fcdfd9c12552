"""Coupling: which channels of which layers must leave together.

In `conv1 -> bn1 -> conv2`, output channel 3 of conv1, entry 3 of bn1 and input channel 3 of conv2 are one
unit; a residual addition ties the outputs of every convolution that feeds it. Torch-Pruning finds the ties
(Fang et al., 2023, DepGraph); here they become plain indices, so that ranking and removal need no library.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekit.analysis.heads import output_layers
from edgekit.analysis.layers import example_on, in_evaluation
from edgekit.errors import MissingDependency


@dataclass(frozen=True)
class Member:
    """A layer's side in a group: channel `channels[i]` of this side belongs to unit `units[i]` of the group.

    `side` is "out" (filters of a layer), "in" (what it reads), "both" (depthwise, normalization, PReLU) or
    "parameter:DIM" (a bare parameter). A flattened channel has several entries with one unit.
    """

    layer: str
    side: str
    channels: np.ndarray
    units: np.ndarray
    width: int  # of the whole side, this group's share or more
    blocks: int = 1  # equal runs of the side that must stay equal (groups of a conv, a norm)


@dataclass(frozen=True)
class Group:
    """Channels that can only leave together, unit by unit; `root` is the layer whose outputs number the
    units.

    `blocks` says into how many equal runs of units the group falls: each must lose the same number.
    `blocked` is the reason why no unit may leave, or "".
    """

    root: str
    width: int
    members: tuple[Member, ...]
    blocks: int = 1
    shares: int = 1  # how many layers' outputs lie side by side in the units
    blocked: str = ""

    def layers(self) -> set[str]:
        """Every layer whose outputs or entries the group removes."""
        return {member.layer for member in self.members if member.side != "in"}

    def __str__(self) -> str:
        tied = ", ".join(f"{member.layer}:{member.side}" for member in self.members)
        return f"{self.root} [{self.width}]: {tied}" + (f" ({self.blocked})" if self.blocked else "")


def coupled_groups(model: nn.Module, example: Mapping[str, torch.Tensor]) -> tuple[Group, ...]:
    """Every group of the model, in the order of the graph; those that hold a model input or output are
    blocked.
    """
    try:
        import torch_pruning as tp
    except ImportError as error:
        raise MissingDependency("torch-pruning", "host", "prune") from error
    heads = set(output_layers(model, example))
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_()  # the tracer sees only what autograd sees
        with in_evaluation(model), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = example_on(model, example, with_grad=True)
            graph = tp.DependencyGraph().build_dependency(
                _WithEntries(model, values),
                values,
                forward_fn=lambda net, x: net(*x),
                verbose=False,
                customized_pruners={_Entry: _entry_pruner(tp)},
            )
        return _shared_checked([_read(graph, found, model, heads) for found in graph.get_all_groups()])
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


class _Entry(nn.Module):
    """Stands for a model input, so that the tracer knows its width and what is tied to it."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.width = value.shape[1] if value.ndim > 1 else None

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value.clone()


class _WithEntries(nn.Module):
    """A model with an entry before each of its inputs."""

    def __init__(self, model: nn.Module, values: tuple[torch.Tensor, ...]) -> None:
        super().__init__()
        self.model, self.entries = model, nn.ModuleList(_Entry(value) for value in values)

    def forward(self, *values: torch.Tensor) -> Any:
        return self.model(*(entry(value) for entry, value in zip(self.entries, values, strict=True)))


def _entry_pruner(tp: Any) -> Any:
    class EntryPruner(tp.BasePruningFunc):  # type: ignore[misc]
        def prune_out_channels(self, layer: nn.Module, idxs: Any) -> nn.Module:
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer: _Entry) -> int | None:
            return layer.width

        get_in_channels = get_out_channels

    return EntryPruner()


def _read(graph: Any, found: Any, model: nn.Module, heads: set[str]) -> Group:
    names = {id(module): name for name, module in model.named_modules()}
    names |= {id(parameter): name for name, parameter in model.named_parameters()}
    root = names[id(found[0].dep.target.module)]
    width = len(found[0].idxs)
    members, blocked = [], ""
    for item in found:
        node = item.dep.target
        if isinstance(node.module, _Entry):
            blocked = "is tied to a model input"
        if id(node.module) not in names:
            continue
        member = _member(graph, item, names[id(node.module)])
        if member is None:
            blocked = (
                blocked
                or f"is tied to {names[id(node.module)]}, a {type(node.module).__name__}, which is not cut"
            )
        else:
            members.append(member)
    if not blocked:
        blocked = _head_reason(root, members, heads)
    blocks, shares = _blocks(width, members)
    return Group(root, width, _one_a_side(members), blocks, shares, blocked)


def _member(graph: Any, item: Any, name: str) -> Member | None:
    node = item.dep.target
    module = node.module
    channels, units = np.asarray(item.idxs, np.int64), np.asarray(item.root_idxs, np.int64)
    reads = graph.is_in_channel_pruning_fn(item.dep.handler)
    writes = graph.is_out_channel_pruning_fn(item.dep.handler)
    if isinstance(module, nn.Parameter):
        dimension = node.pruning_dim % module.ndim
        return Member(name, f"parameter:{dimension}", channels, units, module.shape[dimension])
    if isinstance(module, nn.modules.conv._ConvNd):
        if module.groups > 1 and module.groups == module.in_channels == module.out_channels:
            return Member(name, "both", channels, units, module.out_channels)
        side = "in" if reads else "out"
        return Member(
            name, side, channels, units, module.in_channels if reads else module.out_channels, module.groups
        )
    if isinstance(module, nn.Linear):
        side = "in" if reads and not writes else "out"
        return Member(
            name, side, channels, units, module.in_features if side == "in" else module.out_features
        )
    width = entry_width(module)
    blocks = module.num_groups if isinstance(module, nn.GroupNorm) else 1
    return Member(name, "both", channels, units, width, blocks) if width else None


def entry_width(module: nn.Module) -> int:
    """How many channels a layer with one entry a channel has; 0 for a layer of another kind."""
    if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)):
        return module.num_features
    if isinstance(module, nn.GroupNorm):
        return module.num_channels
    if isinstance(module, nn.PReLU):
        return module.num_parameters
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return module.normalized_shape[0]
    return module.embedding_dim if isinstance(module, nn.Embedding) else 0


def _head_reason(root: str, members: list[Member], heads: set[str]) -> str:
    for member in members:
        if member.layer in heads and member.side != "in":
            return (
                "makes a model output"
                if member.layer == root
                else f"is tied to {member.layer}, which makes a model output"
            )
    return ""


def _one_a_side(members: list[Member]) -> tuple[Member, ...]:
    """Torch-Pruning names a layer with one entry a channel once as reader and once as writer."""
    return tuple({(member.layer, member.side): member for member in members}.values())


def _blocks(width: int, members: list[Member]) -> tuple[int, int]:
    """(equal runs of units, layers side by side).

    Two units are alike if every member puts them into the same block of the same side, or lacks both.
    """
    labels = np.full((len(members), width), -1, np.int64)
    for label, member in zip(labels, members, strict=True):
        label[member.units] = member.channels // max(1, member.width // member.blocks)
    borders = np.flatnonzero((labels[:, 1:] != labels[:, :-1]).any(axis=0)) + 1
    runs = np.diff([0, *borders.tolist(), width]).tolist()
    blocks = width // math.gcd(*runs)
    partial = bool((labels < 0).any())
    return blocks, blocks if partial else 1


def _shared_checked(groups: list[Group]) -> tuple[Group, ...]:
    """Block the groups whose channels meet in one block-wise layer: one alone cannot keep its blocks
    equal.
    """
    owners: dict[tuple[str, str], list[int]] = {}
    for index, group in enumerate(groups):
        for member in group.members:
            if member.blocks > 1:
                owners.setdefault((member.layer, member.side), []).append(index)
    shared = {index: layer for (layer, _), indices in owners.items() if len(indices) > 1 for index in indices}
    return tuple(
        group
        if group.blocked or index not in shared
        else Group(
            group.root,
            group.width,
            group.members,
            group.blocks,
            group.shares,
            f"is read by {shared[index]} together with another layer, in fixed groups",
        )
        for index, group in enumerate(groups)
    )
