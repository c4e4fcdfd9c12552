"""What the engines of synchronous and asynchronous agents have in common: an agent without a network, and its mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from edgekit.coordinator.mail import Letter, Mail
from edgekit.coordinator.patience import Deadlines, Patience
from edgekit.coordinator.report import Report
from edgekit.decentralized.async_solo import AsyncSolo
from edgekit.decentralized.snapshot import Snapshot
from edgekit.decentralized.solo import Solo
from edgekit.wire.transport import Message

Agent = TypeVar("Agent", Solo, AsyncSolo)


class Engine(Generic[Agent]):
    """Drives `solo` over `mail`.

    ids: the agents of the roster by position; gone(id): whether an agent is known to be lost, and not waited for;
    overtaken(): whether the others have gone on without this epoch, so that waiting is in vain; other: what becomes of
    documents and changes of the link. behind: why it must be taken in anew, "" where it need not. payload_bytes,
    messages: sent so far, each counted for every receiver.
    """

    def __init__(
        self,
        solo: Agent,
        mail: Mail,
        deadlines: Deadlines,
        *,
        gone: Callable[[str], bool] = lambda agent: False,
        overtaken: Callable[[], bool] = lambda: False,
        other: Callable[[Message], None] = lambda message: None,
        schema: int = 0,
    ) -> None:
        self.solo: Agent = solo
        self.mail, self.patience, self.schema = mail, Patience(deadlines), schema
        self.gone, self.overtaken, self.other = gone, overtaken, other
        self.epoch, self.up, self.behind = 0, True, ""
        self.ids: tuple[str, ...] = ()
        self.payload_bytes, self.messages = 0, 0
        self.report = Report(0)

    @property
    def model(self) -> torch.Tensor:
        """The agent's model [1, P]."""
        return self.solo.model

    @property
    def gradients(self) -> tuple[int, int]:
        """(batches drawn, gradients taken) so far."""
        return int(self.solo.context.draws[0]), int(self.solo.context.gradients[0])

    @property
    def lr(self) -> float:
        """The rate of the last round."""
        return self.solo.context.lr

    def snapshot(self) -> Snapshot:
        """All that decides the rounds to come, but for messages under way."""
        found = self.solo.snapshot()
        found.facts |= {"payload_bytes": self.payload_bytes, "messages_sent": self.messages}
        return found

    def restore(self, found: Snapshot) -> None:
        """Go on from a snapshot that was taken among the same agents."""
        self.solo.restore(found)
        self.payload_bytes, self.messages = found.facts["payload_bytes"], found.facts["messages_sent"]

    def _first(self, model: torch.Tensor | None) -> torch.Tensor:
        """The model of an epoch's start; without one this agent has to be taken in again, by other sponsors."""
        if model is None:
            self.behind = "no neighbour sent it a model to start from"
            return self.model
        return model

    def _count(self, messages: int, size: int) -> None:
        """So many messages, of so many bytes in all, are sent."""
        self.payload_bytes += size
        self.messages += messages
        self.report.payload_bytes += size
        self.report.messages += messages

    def _drain(self) -> None:
        """Take in what came while a gradient was computed, and no more than that."""
        for _ in range(4 * max(1, len(self.ids))):
            if not self._take(self.mail.receive(0.0)):
                return

    def _take(self, item: Letter | Message | None) -> bool:
        """Take in one thing; False where there was none."""
        raise NotImplementedError
