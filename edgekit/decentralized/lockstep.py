"""Every agent by itself, in step: the devices' side of a run without a network.

What the vector engine computes for all rows at once must come out of this bit for bit; the conformance kit holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from edgekit.decentralized.peer import Incoming, Phase
from edgekit.decentralized.solo import Solo, Stage

Mail = Callable[[int, int, int, int], int | None]


@dataclass
class Lockstep:
    """Agents with one row each, whose messages are handed over in memory.

    mail(round, key, sender, receiver): after how many rounds a message arrives, 0 in time, None never. bytes [n]: what
    each has sent.
    """

    agents: Sequence[Solo]
    mail: Mail = lambda round, key, sender, receiver: 0
    bytes: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.bytes = [0] * len(self.agents)
        self._late: list[tuple[int, int, int, int, int, bytes]] = []

    @property
    def models(self) -> torch.Tensor:
        """The output of every agent [n, P]."""
        return torch.cat([agent.model for agent in self.agents])

    def round(self) -> None:
        """One round of all agents."""
        number = self.agents[0].number
        self._deliver_late(number)
        stages = [agent.round() for agent in self.agents]
        waiting = {index: phase for index, stage in enumerate(stages) if (phase := _step(stage, None))}
        while waiting:
            mail = self._carried(number, waiting)
            waiting = {
                index: phase for index in waiting if (phase := _step(stages[index], mail[index])) is not None
            }

    def _carried(self, number: int, waiting: dict[int, Phase]) -> list[Incoming]:
        """What each receives in time."""
        mail: list[Incoming] = [{} for _ in self.agents]
        for sender, phase in waiting.items():
            for receiver, payload in phase.outgoing.items():
                self.bytes[sender] += len(payload)
                delay = self.mail(number, phase.key, sender, receiver)
                if delay == 0:
                    mail[receiver][sender] = payload
                elif delay is not None:
                    self._late.append((number + delay, receiver, number, phase.key, sender, payload))
        return mail

    def _deliver_late(self, number: int) -> None:
        due = [item for item in self._late if item[0] <= number]
        self._late = [item for item in self._late if item[0] > number]
        for _, receiver, round, key, sender, payload in due:
            self.agents[receiver].peer.late(round, key, sender, payload)


def _step(stage: Stage, incoming: Incoming | None) -> Phase | None:
    try:
        return stage.send(incoming)  # type: ignore[arg-type]
    except StopIteration:
        return None
