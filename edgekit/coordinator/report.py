"""What happened in one round at one agent."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """One round at one agent: who was mixed, who was missed, what it took.

    neighbours: ids expected, over all phases; deadline: the longest that a phase would have waited, s; consensus: half
    the mean squared distance to the neighbours' models, which estimates (1/n) sum |x_i - mean|^2.
    """

    round: int
    loss: float | None = None
    neighbours: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    late: int = 0
    asked: int = 0
    payload_bytes: int = 0
    frame_bytes: int = 0
    messages: int = 0
    deadline: float | None = None
    consensus: float | None = None
    seconds: float = 0.0
    waited: float = 0.0
