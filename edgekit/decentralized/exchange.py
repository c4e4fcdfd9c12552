"""What an algorithm asks of the other agents: it yields one of these, and its engine sends back the reply.

An algorithm knows rows [A, P] (A agents that live in this process) and nothing of peers, topics or ranks. `slot` names
what is sent, so that codecs' residuals and random streams of different things are kept apart. Rows narrower than the
model (a push-sum weight [A, 1]) travel in the same message as they are.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch

from edgekit.codecs.codec import Codec

Rows = torch.Tensor


@dataclass(frozen=True)
class Mix:
    """Send rows to the neighbours; the reply is `Mixed`. `codec` None is the run's own."""

    rows: tuple[Rows, ...]
    slot: str = "model"
    codec: Codec | None = None


@dataclass(frozen=True)
class Edges(Mix):
    """As `Mix`, and the reply, `Heard`, also tells the neighbours' rows apart."""


@dataclass(frozen=True)
class Publish(Mix):
    """Bring the public copy of each row, which every neighbour holds, nearer to the row.

    Only codec(row - public copy) is sent, and all holders add what they see; the reply is `Mixed` over the public
    copies. Copies start from the rows that every agent starts from. Needs a graph that stays.
    """


@dataclass(frozen=True)
class Group(Mix):
    """Average exactly within groups: `among` "all", or "groups" of the topology; the reply is the mean's rows.

    Each member owns a part of the row: it receives that part from the others, averages it and sends it back, so a
    member sends 2 (g - 1) / g of a row. An agent without a group keeps its row. `weight` [A] weighs the members.
    Absent members are left out, unless the group must be `whole`: then nobody averages, as a ring all-reduce stalls.
    """

    among: str = "all"
    weight: torch.Tensor | None = None
    whole: bool = False


@dataclass(frozen=True)
class Reply:
    """Answer each neighbour that was heard: `values` [E, P] go back along the edges of `heard`.

    The reply is [E, P] in the same order: what the neighbour at the other end of each edge answered.
    """

    values: Rows
    heard: Heard
    slot: str = "reply"
    codec: Codec | None = None


@dataclass(frozen=True)
class Mixed:
    """sum_j W_ij q_j over what was seen of every agent, itself among them (`sums`), and q_i (`own`).

    One entry for each of the rows sent; `sum` is the first.
    """

    sums: tuple[Rows, ...]
    own: tuple[Rows, ...]

    @property
    def sum(self) -> Rows:
        """sum_j W_ij q_j of the first rows."""
        return self.sums[0]

    def pull(self, rows: Rows, gamma: float = 1.0, *, at: int = 0) -> Rows:
        """rows + gamma (sum_j W_ij q_j - q_i) of the rows sent in place `at`.

        Keeps the sum over agents wherever the columns of W sum to 1, under any codec.
        """
        if gamma == 1.0 and self.own[at] is rows:
            return self.sums[at]
        return self.sums[at].sub_(self.own[at]).mul_(gamma).add_(rows)


@dataclass(frozen=True)
class Heard(Mixed):
    """`Mixed`, and edge by edge: agent `target[e]` (a row of this process) heard `value[e]` from `source[e]`.

    target [E] indexes the rows here; source [E] is the sender's position in the roster; weight [E] is W_target,source;
    diagonal [A] is W_ii; value [E, P]. Edges are sorted by (target, source).
    """

    target: torch.Tensor
    source: torch.Tensor
    weight: torch.Tensor
    diagonal: torch.Tensor
    value: Rows

    def gather(self, values: Rows, *, own: Rows) -> Rows:
        """sum over j of W_ij values_j, with `own` on the diagonal; values [E, P] -> [A, P]."""
        result = own * self.diagonal.unsqueeze(1)
        return result.index_add_(0, self.target, values * self.weight.unsqueeze(1))


Request = Mix | Reply
Steps = Generator[Request, Any, None]
