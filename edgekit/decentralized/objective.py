"""The local objectives F_i: what each agent's data say about a model, as gradients of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from edgekit.decentralized.layout import Layout

Rows = torch.Tensor


class Objective(Protocol):
    """Gradients of rows on the agents' own data.

    `agents` [E] are ids of agents, `draws` [E] the number of the mini-batch of each: the same (agent, draw) is the
    same batch, in every process.
    """

    layout: Layout
    buffers: dict[int, Rows]  # running statistics [Q] of each agent's model; empty where it keeps none

    def weight(self, agent: int) -> float:
        """How much an agent's data count in a weighted mean: its number of samples."""
        ...

    def gradient(self, x: Rows, agents: Sequence[int], draws: Sequence[int], out: Rows) -> torch.Tensor:
        """Write grad F_agent(x_e; batch) into out [E, P] and return the losses [E]."""
        ...

    def descend(
        self, x: Rows, onto: Rows, agents: Sequence[int], draws: Sequence[int], lr: float
    ) -> torch.Tensor:
        """onto <- onto - lr grad F_agent(x_e; batch) in place, and return the losses [E]; `onto` may be `x`."""
        ...


class Quadratic:
    """F_i(x) = 1/2 (x - b_i)' H_i (x - b_i) with full gradients: what theorems are checked on.

    center [n, P]; curvature [n, P, P], or None for the identity.
    """

    def __init__(self, center: Rows, curvature: Rows | None = None) -> None:
        self.center, self.curvature = center, curvature
        self.layout = Layout.flat(center.shape[1])
        self.buffers: dict[int, Rows] = {}

    @property
    def optimum(self) -> Rows:
        """The minimizer [P] of the sum: (sum H_i)^-1 sum H_i b_i."""
        if self.curvature is None:
            return self.center.mean(0)
        pulled = torch.einsum("npq,nq->p", self.curvature, self.center)
        found: Rows = torch.linalg.solve(self.curvature.sum(0), pulled)
        return found

    def weight(self, agent: int) -> float:
        """1: all count the same."""
        return 1.0

    def gradient(self, x: Rows, agents: Sequence[int], draws: Sequence[int], out: Rows) -> torch.Tensor:
        """H_i (x - b_i), row by row, so that rows alone and rows together are the same bits."""
        losses = x.new_empty(len(agents))
        for row, agent in enumerate(agents):
            offset = x[row] - self.center[agent]
            pull = offset if self.curvature is None else self.curvature[agent] @ offset
            out[row].copy_(pull)
            losses[row] = 0.5 * (offset @ pull)
        return losses

    def descend(
        self, x: Rows, onto: Rows, agents: Sequence[int], draws: Sequence[int], lr: float
    ) -> torch.Tensor:
        """One step of gradient descent."""
        gradient = torch.empty_like(x)
        losses = self.gradient(x, agents, draws, gradient)
        onto.add_(gradient, alpha=-lr)
        return losses
