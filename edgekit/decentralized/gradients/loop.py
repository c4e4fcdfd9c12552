"""Gradients one model after the other: works on every model, and is what a device does with its one row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from edgekit.decentralized.layout import Layout

Rows = torch.Tensor
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class LoopGradients:
    """Points the parameters of one model at each row in turn.

    `draw_seed(e)` seeds torch before the pass of row e where the model draws numbers of its own (dropout).
    """

    name = "loop"

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self.model, self.loss = model.train(), loss
        self.layout, self.buffers = Layout.weights(model), Layout.buffers(model)
        self._parameters = [value for value in model.parameters() if value.requires_grad]
        modules = dict(model.named_modules())
        self._owners = [
            (modules[item.name.rpartition(".")[0]], item.name.rpartition(".")[2])
            for item in self.buffers.slices
        ]

    def point(self, row: Rows, buffers: Rows | None) -> None:
        """Make a row (and a row of buffers) the model's own memory."""
        for parameter, view in zip(self._parameters, self.layout.views(row).values(), strict=True):
            parameter.data = view
        if buffers is not None:
            for (owner, name), view in zip(self._owners, self.buffers.views(buffers).values(), strict=True):
                owner._buffers[name] = view

    def gradient(
        self,
        x: Rows,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        out: Rows,
        *,
        buffers: list[Rows | None],
        seeds: list[int] | None,
    ) -> torch.Tensor:
        """Gradients of rows [E, P] on batches [E, B, ...] into out [E, P]; losses [E]."""
        losses = []
        for index, row in enumerate(x.unbind(0)):
            loss, parts = self._one(row, inputs[index], targets[index], buffers[index], seeds, index)
            torch.cat([part.reshape(-1) for part in parts], out=out[index])
            losses.append(loss)
        return torch.stack(losses)

    def descend(
        self,
        x: Rows,
        onto: Rows,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        lr: float,
        *,
        buffers: list[Rows | None],
        seeds: list[int] | None,
    ) -> torch.Tensor:
        """onto <- onto - lr gradient, tensor by tensor in place; losses [E]."""
        losses = []
        for index, row in enumerate(x.unbind(0)):
            loss, parts = self._one(row, inputs[index], targets[index], buffers[index], seeds, index)
            for view, part in zip(self.layout.views(onto[index]).values(), parts, strict=True):
                view.add_(part, alpha=-lr)
            losses.append(loss)
        return torch.stack(losses)

    def _one(
        self,
        row: Rows,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        buffers: Rows | None,
        seeds: list[int] | None,
        index: int,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        self.point(row, buffers)
        if seeds is not None:
            torch.manual_seed(seeds[index])
        with torch.enable_grad():
            loss = self.loss(self.model(inputs), targets)
            parts = torch.autograd.grad(loss, self._parameters)
        return loss.detach(), parts
