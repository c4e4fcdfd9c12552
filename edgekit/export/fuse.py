"""BatchNorm folded into the convolution or linear layer that feeds it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.utils import fusion

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Pair = tuple[str, str]


def batchnorm_pairs(model: nn.Module, example: dict[str, torch.Tensor]) -> list[Pair]:
    """(layer, BatchNorm) module paths where the layer's output goes into the BatchNorm, seen in one forward pass.

    A layer or a BatchNorm that is called more than once is left alone.
    """
    produced: dict[int, str] = {}
    keep: list[torch.Tensor] = []
    pairs: list[Pair] = []
    calls: dict[str, int] = {}

    def layer_hook(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            keep.append(output)  # keeps the id alive for the length of the pass
            produced[id(output)] = name

        return hook

    def norm_hook(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            source = produced.get(id(inputs[0]))
            if source is not None:
                pairs.append((source, name))

        return hook

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, (*_CONVOLUTIONS, nn.Linear)):
            handles.append(module.register_forward_hook(layer_hook(name)))
        elif isinstance(module, _NORMS) and module.running_mean is not None:
            handles.append(module.register_forward_pre_hook(norm_hook(name)))
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(*example.values())
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1]


def fuse_batchnorm(model: nn.Module, example: dict[str, torch.Tensor]) -> tuple[nn.Module, list[Pair]]:
    """A copy in evaluation mode with every foldable BatchNorm folded, and the pairs that were.

    w' = w * gamma / sqrt(var + eps),  b' = (b - mean) * gamma / sqrt(var + eps) + beta  (per output channel)

    A pair whose fold changes the output (the layer's result is also read elsewhere) is taken back.
    """
    fused = copy.deepcopy(model).eval()
    pairs = batchnorm_pairs(fused, example)
    if not pairs:
        return fused, []
    fold(fused, pairs)
    if _agree(model, fused, example):
        return fused, pairs
    kept: list[Pair] = []
    for pair in pairs:
        trial = fold(copy.deepcopy(model).eval(), [*kept, pair])
        if _agree(model, trial, example):
            kept.append(pair)
    return fold(copy.deepcopy(model).eval(), kept), kept


def fold(model: nn.Module, pairs: list[Pair]) -> nn.Module:
    """Fold the named pairs in place; the BatchNorm becomes nn.Identity."""
    for layer_name, norm_name in pairs:
        layer: Any = model.get_submodule(layer_name)
        norm: Any = model.get_submodule(norm_name)
        training = (layer.training, norm.training)
        layer.eval(), norm.eval()
        fuse = fusion.fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fusion.fuse_conv_bn_eval
        options = {"transpose": True} if isinstance(layer, _CONVOLUTIONS[3:]) else {}
        replace_module(model, layer_name, fuse(layer, norm, **options).train(training[0]))
        replace_module(model, norm_name, nn.Identity().train(training[1]))
    return model


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` where `path` is."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def _agree(one: nn.Module, two: nn.Module, example: dict[str, torch.Tensor]) -> bool:
    was_training = one.training
    with torch.no_grad():
        left, right = one.eval()(*example.values()), two.eval()(*example.values())
    one.train(was_training)
    left, right = (value[0] if isinstance(value, (tuple, list)) else value for value in (left, right))
    scale = float(left.abs().max().clamp(min=1e-6))
    return bool(((left - right).abs().max() / scale) < 1e-3)
