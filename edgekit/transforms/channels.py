"""Keep some channels of a layer and drop the rest: what pruning does, and what a plan replays without a
tracer.

`kept` maps a layer path to {side: kept indices}; sides as in `analysis.coupling.Member`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from edgekit.errors import BadInput

Kept = dict[str, dict[str, list[int]]]


def keep_channels(model: nn.Module, kept: Mapping[str, Mapping[str, Sequence[int]]]) -> nn.Module:
    """Cut every named layer to its kept channels, in place, and return the model.

    A grouped convolution keeps an equal number of channels in each of its groups; GroupNorm keeps its number
    of groups. Raises BadInput for a layer that the model lacks.
    """
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for path, sides in kept.items():
        if path not in modules and path not in parameters:
            raise BadInput(
                f"plan: the model has no layer '{path}'. Replay the plan on the model it was made for."
            )
        for side, indices in sides.items():
            if side.startswith("parameter:"):
                _keep_parameter(model, path, int(side.partition(":")[2]), indices)
            else:
                _keep_side(modules[path], side, torch.as_tensor(list(indices), dtype=torch.long))
    return model


def _keep_side(module: nn.Module, side: str, kept: torch.Tensor) -> None:
    if isinstance(module, nn.modules.conv._ConvNd):
        {"out": _conv_out, "in": _conv_in, "both": _conv_both}[side](module, kept)
    elif isinstance(module, nn.Linear):
        _cut(module, "weight", 0 if side == "out" else 1, kept)
        if side == "out":
            _cut(module, "bias", 0, kept)
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Embedding):
        _cut(module, "weight", 1, kept)
        module.embedding_dim = len(kept)
    else:
        _keep_entries(module, kept)


def _conv_out(module: nn.modules.conv._ConvNd, kept: torch.Tensor) -> None:
    if module.transposed:
        _cut_in_groups(module, kept, module.out_channels, dimension=1)
    else:
        _cut(module, "weight", 0, kept)
    _cut(module, "bias", 0, kept)
    module.out_channels = len(kept)


def _conv_in(module: nn.modules.conv._ConvNd, kept: torch.Tensor) -> None:
    if module.transposed:
        _cut(module, "weight", 0, kept)
    else:
        _cut_in_groups(module, kept, module.in_channels, dimension=1)
    module.in_channels = len(kept)


def _conv_both(module: nn.modules.conv._ConvNd, kept: torch.Tensor) -> None:
    _cut(module, "weight", 0, kept)
    _cut(module, "bias", 0, kept)
    module.in_channels = module.out_channels = module.groups = len(kept)


def _cut_in_groups(
    module: nn.modules.conv._ConvNd, kept: torch.Tensor, width: int, *, dimension: int
) -> None:
    """Dimension 1 of a convolution's weight counts channels within a group; each group keeps its own."""
    groups, size = module.groups, width // module.groups
    if groups == 1:
        _cut(module, "weight", dimension, kept)
        return
    parts = module.weight.detach().chunk(groups, dim=0)
    own = [
        kept[(kept >= group * size) & (kept < (group + 1) * size)] - group * size for group in range(groups)
    ]
    cut = torch.cat(
        [part.index_select(dimension, index.to(part.device)) for part, index in zip(parts, own, strict=True)]
    )
    module.weight = nn.Parameter(cut, requires_grad=module.weight.requires_grad)


def _keep_entries(module: nn.Module, kept: torch.Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        _cut(module, name, 0, kept)
    for attribute in ("num_features", "num_channels", "num_parameters"):
        if hasattr(module, attribute):
            setattr(module, attribute, len(kept))
    if isinstance(module, nn.LayerNorm):
        module.normalized_shape = (len(kept),)


def _keep_parameter(model: nn.Module, path: str, dimension: int, kept: Sequence[int]) -> None:
    owner, _, name = path.rpartition(".")
    _cut(model.get_submodule(owner), name, dimension, torch.as_tensor(list(kept), dtype=torch.long))


def _cut(module: nn.Module, name: str, dimension: int, kept: torch.Tensor) -> None:
    """Replace a parameter or buffer by its kept slices; None stays None."""
    value = getattr(module, name, None)
    if value is None:
        return
    cut = value.detach().index_select(dimension, kept.to(value.device)).clone()
    if isinstance(value, nn.Parameter):
        cut = nn.Parameter(cut, requires_grad=value.requires_grad)
    setattr(module, name, cut)
