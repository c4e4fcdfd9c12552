"""Layers by path, and the model called on its example without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from edgekit.errors import BadInput, did_you_mean


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """Within the block every module is in evaluation mode; afterwards each is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter lives; the CPU for a model without parameters."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def example_on(model: nn.Module, example: Mapping[str, torch.Tensor], *, with_grad: bool = False) -> Any:
    """The example as positional inputs on the model's device, and as autograd results where `with_grad`."""
    device = device_of(model)
    values = [torch.as_tensor(value).to(device) for value in example.values()]
    if with_grad:
        values = [
            value.detach().requires_grad_().clone() if value.is_floating_point() else value
            for value in values
        ]
    return tuple(values)


def find_layer(model: nn.Module, path: str, *, where: str) -> nn.Module:
    """The module at a path; BadInput with the nearest path where there is none."""
    modules = dict(model.named_modules())
    if path not in modules or not path:
        raise BadInput(
            f"{where}: the model has no layer '{path}'. "
            f"{did_you_mean(path, [name for name in modules if name])}"
        )
    return modules[path]


def matching(paths: list[str], globs: tuple[str, ...], *, where: str) -> set[str]:
    """The paths that a glob matches (`head` also matches all below it); BadInput for a glob that matches
    none.
    """
    found: set[str] = set()
    for glob in globs:
        hits = {path for path in paths if fnmatchcase(path, glob) or fnmatchcase(path, f"{glob}.*")}
        if not hits:
            raise BadInput(f"{where}: '{glob}' matches no layer. {did_you_mean(glob, paths)}")
        found |= hits
    return found
