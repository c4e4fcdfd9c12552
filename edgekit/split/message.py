"""What agents of a split network send each other, and the steps of whoever sends and receives."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

What = Literal["value", "gradient", "labels", "weights", "done"]
LOSS = -2  # the consumer that is the loss


class Key(NamedTuple):
    """What a message is: a value of micro-batch `micro`, its gradient from segment `consumer`, labels, weights, or
    that a step is done.

    chain: whose data it belongs to; test: it is of a test, from which nothing is learned.
    """

    what: What
    name: str
    micro: int = 0
    consumer: int = -1
    chain: int = 0
    test: bool = False


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
    """A step is over at an agent; loss: where it was computed, else None; score: what it knows of a test."""

    step: int
    loss: float | None
    score: Mapping[str, Any] | None = None


Steps = Generator[Send | Receive | Done, Any, Any]
