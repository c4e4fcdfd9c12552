"""Heads: the layers whose channels are the model's outputs, found from the graph and not from their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from edgekit.analysis.layers import example_on, in_evaluation
from edgekit.job import call

MIXING = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding, nn.RNNBase, nn.MultiheadAttention, nn.Bilinear)


def output_layers(model: nn.Module, example: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Paths of the layers that mix channels (convolution, linear, ...) and whose result reaches a model
    output through nothing but channel-preserving operations.

    Walks the autograd graph backward from every output and stops at the first such layer on each path.
    """
    owner: dict[Any, str] = {}
    with in_evaluation(model), torch.enable_grad(), _recording(model, owner):
        outputs = call(model, example_on(model, example, with_grad=True))
    return tuple(sorted(set(_nearest([tensor.grad_fn for tensor in tensors_of(outputs)], owner))))


class _recording:  # noqa: N801
    """Within the block, the autograd node of each mixing layer's result is noted with the layer's path."""

    def __init__(self, model: nn.Module, owner: dict[Any, str]) -> None:
        self._model, self._owner = model, owner

    def __enter__(self) -> None:
        self._handles = [
            module.register_forward_hook(self._note(name))
            for name, module in self._model.named_modules()
            if isinstance(module, MIXING)
        ]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            for tensor in tensors_of(output):
                self._owner[tensor.grad_fn] = name

        return hook


def _nearest(roots: list[Any], owner: Mapping[Any, str]) -> Iterator[str]:
    stack, seen = [root for root in roots if root is not None], set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in owner:
            yield owner[node]
        else:
            stack.extend(parent for parent, _ in node.next_functions if parent is not None)


def tensors_of(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in any nesting of tuples, lists and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_of(list(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for item in value:
            yield from tensors_of(item)
