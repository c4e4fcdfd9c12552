"""The peer engine: one agent's rounds over a transport, with what real links and machines do to them.

What is expected and does not come is asked for again (WANT), then gone without; when it comes after all, it is made up
for (`Peer.late`), so that the sum over agents stays what it is. A link that is down stops the clock.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Mapping
from time import monotonic
from typing import Any, Final

import numpy as np

from edgekit.codecs.codec import Payload
from edgekit.coordinator.engine import Engine
from edgekit.coordinator.mail import Letter, Mail
from edgekit.coordinator.opening import first_copies, first_model, graph_of
from edgekit.coordinator.patience import Deadlines
from edgekit.coordinator.report import Report
from edgekit.coordinator.store import Store
from edgekit.coordinator.waits import Waits
from edgekit.decentralized.peer import KEPT, Incoming, Outgoing, Phase
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.solo import Solo, Stage
from edgekit.wire.frame import Head, Kind
from edgekit.wire.transport import Message

ASKED_AFTER: Final = (1, 2, 4, 8)  # rounds
FAR: Final = "more than a few rounds behind"
AHEAD_BYTES: Final = 32 << 20  # of messages for rounds to come
Key = tuple[int, int]  # round, phase; those before the first of a round are negative


class PeerEngine(Engine[Solo]):
    """Drives a `Solo` over `Mail`."""

    in_step: Final = True  # all agents are in the same round

    def __init__(self, solo: Solo, mail: Mail, deadlines: Deadlines, **how: Any) -> None:
        super().__init__(solo, mail, deadlines, **how)
        self._numbers: tuple[int, ...] = ()
        self._static = False  # whether all neighbours always are the same
        self._receivers: set[int] = set()
        self.store = Store(places=4 * KEPT)
        self._boxes: dict[Key, dict[int, Payload]] = {}
        self._ahead: dict[tuple[int, Key], dict[str, Payload]] = {}  # of epochs to come
        self._ahead_bytes = 0
        self._began: dict[Key, float] = {}
        self._now: Key = (0, 0)
        self._silent: set[int] = set()  # positions that are not waited for until they are heard
        self._asked = 0

    @property
    def number(self) -> int:
        """Rounds done."""
        return self.solo.number

    @number.setter
    def number(self, value: int) -> None:
        self.solo.number = value

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
        """Go on in a new epoch among these agents; who `joined` (positions) starts from its sponsors' models.

        exchange: whether public copies must be brought along; not where all start from the same model.
        """
        self.epoch, self.ids, self._numbers = epoch, ids, roster.ids
        self.mail.numbers = numbers
        self._silent, self.behind = set(), ""
        self._boxes, self._began = {}, {}
        self._now = (self.number, 0)
        self._take_ahead()
        position = roster.ids.index(self.solo.agent)
        graph = graph_of(self.solo, roster)
        self._static = self.solo.topology.period(len(roster)) == 1
        self._receivers = set(graph.receivers(position)) if self._static else set()
        self.mail.listen({ids[sender] for sender in graph.senders(position)} if self._static else ())
        model, copies = self._first(self._opened(first_model(self.solo, graph, position, joined))), {}
        if self.solo.algorithm.public and exchange:
            copies = self._opened(first_copies(model, graph, position))
        self.solo.enter(roster, model, copies)

    def round(self) -> Report:
        """One round; what happened in it."""
        start, frames = monotonic(), self.mail.sent
        self.report = report = Report(self.number)
        self._drain()
        self._ask_for_missed()
        stage, incoming = self.solo.round(), None
        while True:
            phase, loss = _step(stage, incoming)
            if phase is None:
                break
            incoming = self._exchange(phase)
        report.loss = loss if loss == loss else None
        report.consensus = None if self.solo.peer.spread is None else self.solo.peer.spread / 2
        report.frame_bytes = self.mail.sent - frames
        report.seconds = monotonic() - start
        stale = self.solo.peer.stale
        if stale and not all(self.gone(self.ids[sender]) for sender in stale):
            self.behind = FAR
        return report

    def listen(self, timeout: float) -> bool:
        """Take in what comes, for at most so long, while there is nothing to wait for; whether something came."""
        return self._take(self.mail.receive(timeout))

    def _exchange(self, phase: Phase, kind: Kind = Kind.DATA) -> Incoming:
        """Send what a phase sends; what came of what it expects."""
        key = self._now = (self.number, phase.key)
        began = self._began[key] = monotonic()
        self._post(phase, kind)
        box = self._boxes.setdefault(key, {})
        if not any(map(self._is_here, phase.expected)):
            self._silent.difference_update(phase.expected)  # who hears no one must not run ahead alone
        waits = Waits(
            phase.expected, self.ids, self.patience, self._is_here, whole=phase.whole, heard=self._heard_at
        )
        while not (self.behind or self.overtaken()) and (timeout := waits.left(box, self.up)) is not None:
            self._take(self.mail.receive(timeout))
            for sender in waits.to_ask(box, self.up):
                self._ask(key, sender, kind)
        self.report.waited += monotonic() - began
        self.report.deadline = max(self.report.deadline or 0.0, waits.deadline or 0.0) or None
        return self._taken(phase, self._boxes.pop(key))

    def _heard_at(self, position: int) -> float:
        return self.mail.heard.get(self.ids[position], 0.0)

    def _is_here(self, position: int) -> bool:
        return position not in self._silent and not self.gone(self.ids[position])

    def _taken(self, phase: Phase, box: dict[int, Payload]) -> Incoming:
        arrived = {
            sender: message
            for sender, message in box.items()
            if sender in phase.expected and len(message) <= phase.limit
        }
        report = self.report
        for sender in phase.expected:
            name = self.ids[sender]
            where = report.mixed if sender in arrived else report.missed
            if name not in where:
                where.append(name)
            if name not in report.neighbours:
                report.neighbours.append(name)
            if sender not in arrived:
                self._silent.add(sender)
        return arrived

    def _post(self, phase: Phase, kind: Kind) -> None:
        outgoing = phase.outgoing
        if not outgoing:
            return
        self._count(len(outgoing), sum(map(len, outgoing.values())))
        head = self._head(kind, phase.key, codec=phase.codec)
        for receiver, message in self._addressed(outgoing, kind).items():
            self.store.keep((self.epoch, *self._now), receiver, self.mail.post(head, message, receiver))

    def _addressed(self, outgoing: Outgoing, kind: Kind) -> dict[str | None, bytes]:
        """Messages by receiver, None for all who listen: where all neighbours get the same, and always do."""
        same = len(set(map(id, outgoing.values()))) == 1
        if kind is Kind.DATA and same and self._static and outgoing.keys() == self._receivers:
            return {None: next(iter(outgoing.values()))}
        return {self.ids[target]: message for target, message in outgoing.items()}

    def _head(
        self, kind: Kind, phase: int, *, round: int | None = None, codec: int = 0, stream: int = 0
    ) -> Head:
        number = self.number if round is None else round
        return Head(
            kind, codec, self.mail.run, self.epoch, number, phase % 256, stream, self.solo.agent, self.schema
        )

    def _take(self, item: Letter | Message | None) -> bool:
        if item is None:
            return False
        if isinstance(item, Message):
            self._hear(item)
        elif item.head.schema != self.schema:
            self.mail.counts["another model"] += 1
        elif item.head.kind is Kind.WANT:
            self._serve(item)
        elif item.head.epoch == self.epoch:
            self._sort(item)
        elif item.head.epoch > self.epoch:
            self._keep_ahead(item)
        else:
            self.mail.counts["an older epoch"] += 1
        return True

    def _hear(self, message: Message) -> None:
        if message.what == "link":
            self.up = message.name == "up"
            if self.up:
                self._send_again()
        self.other(message)

    def _send_again(self) -> None:
        """What the current phase sent may be lost with the link; repeats do no harm."""
        for receiver, frames in self.store.of((self.epoch, *self._now)).items():
            self.mail.send(frames, receiver)

    def _sort(self, letter: Letter) -> None:
        """Into the box of its phase, or to what is made up for."""
        try:
            sender = self.ids.index(letter.sender)
        except ValueError:
            self.mail.counts["not in the roster"] += 1
            return
        key, number = _key(letter.head), self.number
        if key[0] >= number - KEPT:  # who is further behind cannot be waited for
            self._silent.discard(sender)
        if key in self._began:
            self.patience.arrived(letter.sender, monotonic() - self._began[key])
        elif key > self._now:
            self.patience.arrived(letter.sender, 0.0)
        if key in self._boxes or key > self._now:
            if key[0] - number > KEPT:
                self.mail.counts["too far ahead"] += 1
                self.behind = FAR
                return
            self._boxes.setdefault(key, {})[sender] = letter.payload
        elif self.solo.peer.late(*key, sender, letter.payload):
            self.report.late += 1
        else:
            self.mail.counts["too late"] += 1

    def _keep_ahead(self, letter: Letter) -> None:
        self._ahead_bytes += len(letter.payload)
        if self._ahead_bytes > max(AHEAD_BYTES, 4 * len(letter.payload)):
            self.mail.counts["too far ahead"] += 1
            self._ahead_bytes -= len(letter.payload)
            return
        head = letter.head
        self._ahead.setdefault((head.epoch, _key(head)), {})[letter.sender] = letter.payload

    def _take_ahead(self) -> None:
        """What came early for this epoch."""
        for (epoch, key), box in self._ahead.items():
            if epoch == self.epoch:
                known = {name: position for position, name in enumerate(self.ids)}
                self._boxes[key] = {known[name]: payload for name, payload in box.items() if name in known}
        self._ahead = {name: box for name, box in self._ahead.items() if name[0] > self.epoch}
        self._ahead_bytes = sum(len(payload) for box in self._ahead.values() for payload in box.values())

    # asking again

    def _ask(self, key: Key, sender: int, kind: Kind = Kind.DATA) -> None:
        """Ask a neighbour for a message again."""
        number = self._numbers[sender]
        head = Head(kind, 0, self.mail.run, self.epoch, key[0], key[1] % 256, 0, number, self.schema)
        chunks = np.array(self.mail.missing(head), "<u2").tobytes()
        self._asked = (self._asked + 1) % (1 << 16)
        want = self._head(Kind.WANT, key[1], round=key[0], stream=self._asked)
        self.mail.send(self.mail.frames(want, chunks), self.ids[sender])
        self.report.asked += 1

    def _serve(self, letter: Letter) -> None:
        """Send again what another asks for."""
        head, payload = letter.head, letter.payload
        if len(payload) % 2:
            self.mail.counts["malformed"] += 1
            return
        chunks = np.frombuffer(payload, "<u2").tolist()
        pause = self.patience.usual(letter.sender) or 0.0
        frames = self.store.again((head.epoch, *_key(head)), letter.sender, chunks, pause)
        self.mail.send(frames, letter.sender)

    def _ask_for_missed(self) -> None:
        """For what was missed 1, 2, 4 and 8 rounds before: what is on its way already need not come twice."""
        number = self.number
        for round, key, sender in list(self.solo.peer.missed):
            if number - round in ASKED_AFTER and not self.gone(self.ids[sender]):
                self._ask((round, key), sender)
        self._began = {key: began for key, began in self._began.items() if key[0] >= number - KEPT}
        self._boxes = {key: box for key, box in self._boxes.items() if key[0] >= number}
        self.mail.forget(self.epoch, max(0, number - KEPT))

    def _opened(self, steps: Generator[Phase, Incoming, Any]) -> Any:
        """The result of an exchange before the first round."""
        phase = next(steps)
        while True:
            try:
                phase = steps.send(self._exchange(phase, Kind.MODEL))
            except StopIteration as end:
                return end.value


def _key(head: Head) -> Key:
    return head.round, head.phase - 256 if head.phase >= 128 else head.phase


def _step(stage: Stage, incoming: Incoming | None) -> tuple[Phase | None, float]:
    """(the next phase, NaN), or (None, the loss) where the round is over."""
    try:
        return stage.send(incoming), math.nan  # type: ignore[arg-type]
    except StopIteration as end:
        return None, float(end.value)
