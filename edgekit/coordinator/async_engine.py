"""The asynchronous engine: one agent works at its own pace, and meets one neighbour after each piece of work.

An offer that is not answered is sent again, and answered the same however often it comes, so that both sides of a
meeting take part in it or none. There is one own offer at a time: the answers to several would each take in a
difference that the others have made up for already, and the models would run away from each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from edgekit.codecs.codec import Payload
from edgekit.coordinator.engine import Engine
from edgekit.coordinator.mail import Letter, Mail
from edgekit.coordinator.opening import first_model, graph_of
from edgekit.coordinator.patience import Deadlines
from edgekit.coordinator.report import Report
from edgekit.coordinator.waits import ASK_AFTER, FIRST_ASK, POLL
from edgekit.decentralized.async_solo import AsyncSolo
from edgekit.decentralized.peer import Incoming, Phase
from edgekit.decentralized.roster import Roster
from edgekit.wire.frame import Head, Kind
from edgekit.wire.transport import Message

MOST: Final = 64  # offers that wait for an answer


@dataclass
class _Offer:
    """An offer on its way: to whom, when it was sent, when it is sent again and after how long once more; how often."""

    partner: int
    payload: bytes
    sent: float
    again: float
    pause: float
    times: int = 0


class AsyncEngine(Engine[AsyncSolo]):
    """Drives an `AsyncSolo` over `Mail`; the same to a run as a `PeerEngine`, but that rounds differ between agents."""

    in_step: Final = False

    def __init__(self, solo: AsyncSolo, mail: Mail, deadlines: Deadlines, **how: Any) -> None:
        super().__init__(solo, mail, deadlines, **how)
        self._open: dict[int, _Offer] = {}
        self._models: dict[str, Payload] = {}
        self._given: dict[str, list[bytes]] = {}  # to who joins: frames by receiver

    @property
    def number(self) -> int:
        """Pieces of work done."""
        return self.solo.works

    @number.setter
    def number(self, value: int) -> None:
        self.solo.works = value

    def enter(
        self,
        epoch: int,
        roster: Roster,
        ids: tuple[str, ...],
        numbers: Mapping[int, str],
        *,
        joined: Collection[int] = (),
        exchange: bool = True,
    ) -> None:
        """Go on in a new epoch among these agents; who `joined` (positions) starts from its sponsors' models."""
        self.epoch, self.ids, self.mail.numbers, self.behind = epoch, ids, numbers, ""
        self._open, self._models, self._given = {}, {}, {}
        position = roster.ids.index(self.solo.agent)
        self.mail.listen(())
        graph = graph_of(self.solo, roster)
        steps = first_model(self.solo, graph, position, joined)
        phase = next(steps)
        try:
            steps.send(self._opened(phase))
        except StopIteration as end:
            self.solo.enter(roster, self._first(end.value))

    def round(self) -> Report:
        """One piece of work and the offer after it; before, what came in meanwhile."""
        start, frames = monotonic(), self.mail.sent
        self.report = report = Report(self.number)
        self._drain()
        while self._is_awaited():
            self.listen(POLL)
        report.waited = monotonic() - start
        loss = self.solo.work()
        report.loss = loss if loss == loss else None
        self._meet()
        self._send_again()
        report.consensus = None if self.solo.spread is None else self.solo.spread / 2
        report.frame_bytes = self.mail.sent - frames
        report.seconds = monotonic() - start
        return report

    def listen(self, timeout: float) -> bool:
        """Take in what comes, for at most so long, and answer; whether something came."""
        came = self._take(self.mail.receive(timeout))
        self._send_again()
        return came

    @property
    def idle(self) -> bool:
        """Whether no own offer waits for its answer."""
        return not self._open

    def _is_awaited(self) -> bool:
        """Whether the answer to an own offer is still to be expected."""
        now, usual = monotonic(), self.patience.of
        waits = (now - offer.sent < usual(self.ids[offer.partner]) for offer in self._open.values())
        return self.up and not self.overtaken() and any(waits)

    def _meet(self) -> None:
        met = self.solo.meet()
        if met is None:
            return
        partner, number, payload = met
        name = self.ids[partner]
        self.report.neighbours.append(name)
        if self.gone(name):
            self.report.missed.append(name)
            return
        frames = self.mail.frames(self._head(Kind.OFFER, number), payload)
        usual, now = self.patience.usual(name), monotonic()
        pause = FIRST_ASK if usual is None else max(ASK_AFTER, usual)
        self._open[number] = _Offer(partner, payload, now, now + pause, pause)
        for old in list(self._open)[:-MOST]:
            del self._open[old]
        self._send(frames, name, len(payload))

    def _send_again(self) -> None:
        now = monotonic()
        for number, offer in list(self._open.items()):
            late = now - offer.sent > self.patience.deadlines.most
            if late or self.gone(self.ids[offer.partner]):
                del self._open[number]
                self.report.missed.append(self.ids[offer.partner])
            elif self.up and now >= offer.again:
                offer.pause *= 2
                offer.again = now + offer.pause
                offer.times += 1  # another stream: the same message would be dropped as one that came already
                self.report.asked += 1
                head = self._head(Kind.OFFER, number, stream=offer.times)
                self.mail.send(self.mail.frames(head, offer.payload), self.ids[offer.partner])

    def _send(self, frames: list[bytes], to: str, size: int) -> None:
        self._count(1, size)
        self.mail.send(frames, to)

    def _head(self, kind: Kind, number: int, *, stream: int = 0) -> Head:
        codec = self.solo.settings.codec.number if kind is not Kind.MODEL else 0
        return Head(kind, codec, self.mail.run, self.epoch, number, 0, stream, self.solo.agent, self.schema)

    def _take(self, item: Letter | Message | None) -> bool:
        if item is None:
            return False
        if isinstance(item, Message):
            if item.what == "link":
                self.up = item.name == "up"
            self.other(item)
        elif item.head.schema != self.schema:
            self.mail.counts["another model"] += 1
        elif item.head.epoch != self.epoch or item.sender not in self.ids:
            self.mail.counts["another epoch"] += 1
        else:
            self._meeting(item, self.ids.index(item.sender))
        return True

    def _meeting(self, letter: Letter, partner: int) -> None:
        number = letter.head.round
        if letter.head.kind is Kind.MODEL:
            self._models[letter.sender] = letter.payload
        elif letter.head.kind is Kind.WANT:
            self.mail.send(self._given.get(letter.sender, ()), letter.sender)
        elif letter.head.kind is Kind.OFFER:
            before = self.solo.messages
            answer = self.solo.offered(partner, number, letter.payload)
            if answer is None:
                self.mail.counts["malformed"] += 1
                return
            frames = self.mail.frames(self._head(Kind.ANSWER, number), answer)
            if self.solo.messages == before:  # the same answer again, which is no other message
                self.mail.send(frames, letter.sender)
            else:
                self._send(frames, letter.sender, len(answer))
        elif letter.head.kind is Kind.ANSWER and number in self._open:
            offer = self._open[number]
            if offer.partner == partner and self.solo.answered(partner, number, letter.payload):
                del self._open[number]
                self.patience.arrived(letter.sender, monotonic() - offer.sent)
                self.report.mixed.append(letter.sender)

    def _opened(self, phase: Phase) -> Incoming:
        """Models to who joins, and from the sponsors where that is this agent."""
        for joiner, message in phase.outgoing.items():
            frames = self._given[self.ids[joiner]] = self.mail.frames(self._head(Kind.MODEL, 0), message)
            self._send(frames, self.ids[joiner], len(message))
        began, pause, asked = monotonic(), FIRST_ASK, 0
        until = began + self.patience.deadlines.most
        wanted = {self.ids[giver]: giver for giver in phase.expected}
        while (rest := set(wanted) - set(self._models)) and monotonic() < until:
            if all(self.gone(name) for name in rest):
                break
            self._take(self.mail.receive(min(pause, POLL)))
            if monotonic() - began > pause:
                pause, asked = 2 * pause, asked + 1
                for name in rest - set(self._models):
                    self.mail.send(self.mail.frames(self._head(Kind.WANT, asked), b""), name)
        return {
            giver: self._models[name]
            for name, giver in wanted.items()
            if name in self._models and len(self._models[name]) <= phase.limit
        }
