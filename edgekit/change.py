"""What a step did to a model: counts before and after, notes, and the plan entry that replays it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Cost:
    """Parameters, multiply-accumulates of one sample, and bytes of the float weights."""

    params: int
    macs: int
    bytes: int


@dataclass(frozen=True)
class Change:
    """A step's record. `plan` is plain JSON; with the weights it makes the step again on a fresh model."""

    before: Cost
    after: Cost
    notes: tuple[str, ...] = ()
    plan: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)
