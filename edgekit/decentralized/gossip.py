"""One round of averaging, compiled from the sparse matrix into row additions.

Every row is added term by term in ascending order of the senders, so that a row averaged here among a thousand and the
same row averaged alone on a device are the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from edgekit.decentralized.mixing import Mixing

Rows = torch.Tensor
BLOCK: Final = 1 << 17  # values that stay in the cache


def accumulate(terms: Sequence[Rows], weights: Sequence[float], out: Rows) -> Rows:
    """out <- sum_k weights_k terms_k, in that order, in place."""
    if not terms:
        return out.zero_()
    torch.mul(terms[0], weights[0], out=out)
    for term, weight in zip(terms[1:], weights[1:], strict=True):
        out.add_(term, alpha=weight)
    return out


def squared_distance(one: Rows, other: Rows) -> float:
    """|one - other|^2 of two rows [P], block by block: no temporary row of a large model."""
    if one.shape[0] <= BLOCK:
        gap = one - other
        return float(torch.dot(gap, gap))
    pairs = zip(one.split(BLOCK), other.split(BLOCK), strict=True)
    return sum(squared_distance(mine, theirs) for mine, theirs in pairs)


class Gossip:
    """W as row additions; rows of W that are equal are added once and copied."""

    def __init__(self, mixing: Mixing) -> None:
        self.mixing = mixing
        first: dict[tuple[bytes, bytes], int] = {}
        self._plan: list[tuple[list[int], list[float]]] = []
        self._same: list[tuple[int, int]] = []
        for agent in range(mixing.size):
            sources, weights = mixing.row(agent)
            owner = first.setdefault((sources.tobytes(), weights.tobytes()), agent)
            if owner == agent:
                self._plan.append((sources.tolist(), weights.tolist()))
            else:
                self._plan.append(([], []))
                self._same.append((agent, owner))
        self._owners = [agent for agent, (sources, _) in enumerate(self._plan) if sources]

    def apply(self, rows: Rows, out: Rows) -> Rows:
        """out_i <- sum_j W_ij rows_j; out and rows [n, P] share no memory."""
        given, made = rows.unbind(0), out.unbind(0)
        for agent in self._owners:
            sources, weights = self._plan[agent]
            accumulate([given[source] for source in sources], weights, made[agent])
        for agent, owner in self._same:
            made[agent].copy_(made[owner])
        return out


def mean_rows(rows: Sequence[Rows], weights: Sequence[float], out: Rows) -> Rows:
    """out <- sum_k w_k rows_k / sum w, in that order."""
    total = float(sum(weights))
    return accumulate(rows, [weight / total for weight in weights], out)
