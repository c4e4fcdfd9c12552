"""Asynchronous agents' recorded events, run again: what they did apart must come out of rows together, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from edgekit.decentralized.async_solo import Happening
from edgekit.decentralized.event_engine import Event, EventEngine
from edgekit.errors import BadInput

Rows = torch.Tensor
Message = tuple[str, int, int, int]


class Replay(EventEngine):
    """The event engine without a clock: it plays the events of each agent in their order, and causes before effects."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._waiting: dict[Message, tuple[Rows, ...]] = {}
        super().__init__(*arguments, **options)

    def play(self, logs: Sequence[Sequence[Happening]]) -> None:
        """All events of all agents; BadInput where one took in a message that no other sent."""
        places = [0] * len(logs)
        while any(place < len(log) for place, log in zip(places, logs, strict=True)):
            moved = False
            for agent, log in enumerate(logs):
                while places[agent] < len(log) and self._happened(agent, log[places[agent]]):
                    places[agent] += 1
                    moved = True
            if not moved:
                stuck = [agent for agent, log in enumerate(logs) if places[agent] < len(log)]
                raise BadInput(
                    f"replay: the events of agents {stuck} have no order in which they can happen."
                )

    def _happened(self, agent: int, what: Happening) -> bool:
        if what.kind == "finish":
            self._finish(agent)
            return True
        rows = self._waiting.pop((what.kind, agent, what.partner, what.number), None)
        if rows is None:
            return False
        self._happen(Event(0.0, 0, what.kind, agent, what.partner, what.number, rows))
        return True

    def _schedule(
        self,
        delay: float,
        kind: str,
        agent: int,
        partner: int = -1,
        number: int = -1,
        rows: tuple[Rows, ...] = (),
    ) -> None:
        if kind != "finish":
            self._waiting[kind, agent, partner, number] = rows

    def _round_of(self, agent: int) -> int:
        return int(self.works[agent])
