"""AD-PSGD: asynchronous gossip, in which nobody waits for anybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from edgekit.decentralized.algorithm import AsyncAlgorithm, State
from edgekit.decentralized.context import Context


@dataclass(frozen=True)
class ADPSGD(AsyncAlgorithm):
    """x_i <- x_i - lr g(x_i as it was when the work began); then x_i, x_j <- (x_i + x_j) / 2 with a neighbour j."""

    name: ClassVar[str] = "ad-psgd"
    source: ClassVar[str] = "Lian, Zhang, Zhang and Liu, 2018"

    def local(self, state: State, row: int, seen: torch.Tensor, context: Context) -> None:
        """Steps taken at the model seen, applied to the present one."""
        context.local(seen, onto=state["x"][row : row + 1])

    def merge(self, state: State, row: int, incoming: torch.Tensor, own: torch.Tensor) -> None:
        """Half of the difference; the partner takes the other half, so the mean is kept."""
        state["x"][row].add_(incoming, alpha=0.5).sub_(own, alpha=0.5)
