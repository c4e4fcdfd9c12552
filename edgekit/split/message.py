"""What agents of a split network send each other, and the steps of whoever sends and receives."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

What = Literal["value", "gradient", "labels", "weights"]
LOSS = -2  # the consumer that is the loss


class Key(NamedTuple):
    """What a message is: a value of micro-batch `micro`, its gradient from segment `consumer`, labels, or weights.

    chain: whose data it belongs to.
    """

    what: What
    name: str
    micro: int = 0
    consumer: int = -1
    chain: int = 0


@dataclass(frozen=True)
class Send:
    """A tensor for another agent."""

    to: str
    key: Key
    tensor: torch.Tensor


@dataclass(frozen=True)
class Receive:
    """What is waited for; the generator is sent the tensor, of this shape and dtype."""

    sender: str
    key: Key
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Done:
    """A step is over at an agent; loss: where it was computed, else None."""

    step: int
    loss: float | None


Steps = Generator[Send | Receive | Done, Any, Any]
