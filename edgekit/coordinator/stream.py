"""Inference through a network that is split over servers: requests in order, several under way, over a broker.

Whoever holds the data leads. It names who computes what (a roster: number = role), sends requests and puts their
results in order. When a server is lost, a spare with the same weights takes its role in a new epoch, and what is under
way is sent again: servers remember nothing between requests.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final
from zlib import crc32

import torch

from edgekit.codecs.codec import BadPayload
from edgekit.coordinator.access import Access
from edgekit.coordinator.documents import GONE, ROSTER, Member, RosterDocument, State
from edgekit.coordinator.errors import LostQuorum
from edgekit.coordinator.mail import Letter, Mail
from edgekit.coordinator.members import Members
from edgekit.coordinator.presence import Presence
from edgekit.coordinator.writer import Writer
from edgekit.errors import BadInput
from edgekit.runs.split_run import SplitPart, weights_hash
from edgekit.split.message import Key
from edgekit.split.stage import Stage, Value, crossing
from edgekit.wire.frame import Head, Kind, frame_key
from edgekit.wire.transport import Message

Say = Callable[[str], None]
CLAIM: Final = 0.5  # seconds in which another process of the same id would object
LOOK: Final = 0.05
AGAIN: Final = 5.0  # seconds, or 10 times the usual, after which what is under way is sent again
Tensors = dict[str, torch.Tensor]


class Streamer:
    """What servers and whoever asks them have in common. batch: samples of a request; roles: who computes."""

    def __init__(
        self, access: Access, name: str, part: SplitPart, batch: int, *, say: Say = lambda line: None
    ) -> None:
        self.me, self.part, self.batch, self._say = access.transport.me, part, batch, say
        self.access, self.name = access, name
        split = part.split
        self.network, self.segments, self.placement = split.network, split.segments, split.placed(0)
        self.client = self.placement.inputs[0]
        if set(self.placement.inputs) != {self.client}:
            raise BadInput("split infer: requests come from one agent, but several hold the inputs.")
        self.roles = tuple(dict.fromkeys([self.client, *self.placement.on]))
        self.names = crossing(self.network, self.segments, self.placement, self.client)
        self.post = part.post()
        self.schema = crc32(batch.to_bytes(4, "little"), part.structure)
        self.members = Members(access.trust, say)
        self.writer = Writer(access.transport, access.identity, name)
        self.presence = Presence(self.me, name, self.members, self.writer, self._described)
        key = None if access.secret is None else frame_key(access.secret, name)
        self.mail = Mail(access.transport, name, key)
        self.roster: RosterDocument | None = None
        self.stage: Stage | None = None
        self._who: dict[str, str] = {}  # the id of each role
        self._mine = -1
        self._hashes = {str(segment.index): [float(weights_hash(segment))] for segment in self.segments}

    def _open(self) -> None:
        self.mail.open(self.presence.will())
        samples = [self.network.values[name] for name in self.names]
        longest = max(self.post.limit(Key("value", "any"), (self.batch, *v.shape), v.dtype) for v in samples)
        self.mail.bound(longest + 4096, 64)
        self.presence.tell("joining")
        until = time.monotonic() + CLAIM
        while time.monotonic() < until:
            self._listen(LOOK)

    def _enter(self, roster: RosterDocument, role: str) -> None:
        self.roster, self._mine = roster, self.roles.index(role)
        self._who = {self.roles[member.number]: member.id for member in roster.members}
        self.mail.numbers = {member.number: member.id for member in roster.members}
        self.stage = Stage(role, self.network, self.segments, self.placement, self.client)

    def _listen(self, timeout: float) -> bool:
        """Take in one thing; False where there was none."""
        item = self.mail.receive(timeout)
        if isinstance(item, Message):
            self._hear(item)
        elif item is not None:
            self._take(item)
        return item is not None

    def _hear(self, message: Message) -> None:
        if message.what == "link":
            self._say(f"{self.me}: the link is {message.name}")
            if message.name == "up":
                self.presence.tell(self.presence.status, self.presence.reason)
        elif message.what == "document" and message.sender == self.me:
            self.presence.hear_own(message)
        else:
            self.members.hear(message)

    def _take(self, letter: Letter) -> None:
        """Compute what a value makes possible, and send it on."""
        head = letter.head
        if self.stage is None or self.roster is None or head.epoch != self.roster.epoch:
            self.mail.counts["another epoch"] += 1
        elif head.kind is not Kind.SPLIT or head.schema != self.schema or head.stream >= len(self.names):
            self.mail.counts["of another run"] += 1
        elif self._wants(head.round):
            name = self.names[head.stream]
            shape, dtype = self.stage.shape(name, self.batch)
            try:
                tensor = self.post.unpack(Key("value", name, test=True), letter.payload, shape, dtype)
            except BadPayload:
                self.mail.counts["malformed"] += 1
                return
            self._send(self.stage.take(head.round, name, tensor))

    def _wants(self, request: int) -> bool:
        """Whether a request is still of interest."""
        return True

    def _send(self, values: list[Value]) -> None:
        epoch = 0 if self.roster is None else self.roster.epoch
        for value in values:
            stream = self.names.index(value.name)
            head = Head(
                Kind.SPLIT, 0, self.mail.run, epoch, value.request, 0, stream, self._mine, self.schema
            )
            payload = self.post.pack(Key("value", value.name, test=True), value.tensor)
            self.mail.send(self.mail.frames(head, payload), self._who[value.to])

    def _described(self, state: State) -> State:
        return replace(
            state,
            epoch=self.roster.epoch if self.roster else 0,
            schema=self.schema,
            facts=self._hashes,
        )


class StreamServer(Streamer):
    """An agent that computes its segments for whoever asks, until it is stopped, or with `once` until that one ends."""

    def run(self, *, once: bool = False) -> int:
        """The number of epochs that it took part in."""
        served = 0
        try:
            self._open()
            self.presence.tell("ready")
            while not (once and served and self._is_over()):
                self._listen(LOOK)
                self.presence.beat()
                served += self._follow()
            return served
        finally:
            self.presence.tell("left")
            self.access.transport.close()

    def _follow(self) -> int:
        found = self.members.roster
        if found is None or found is self.roster:
            return 0
        member = found.member(self.me)
        if member is None or member.nonce != self.presence.nonce:
            if self.stage is not None and self.roster is not None and found.epoch > self.roster.epoch:
                self._say(f"{self.me}: another agent has its role now")
                self.stage, self.roster = None, found
                self.presence.tell("ready")
            return 0
        role = self.roles[member.number]
        self._enter(found, role)
        self._say(f"{self.me}: serves as {role} in epoch {found.epoch}")
        self.presence.tell("training")
        return 1

    def _is_over(self) -> bool:
        state = self.members.states.get(self.client)
        return state is None or state.status in GONE or state.status == "done"


class StreamClient(Streamer):
    """Who holds the data, and asks.

    window: requests under way at a time; wait: seconds for servers, or spares for one that was lost.
    """

    def __init__(
        self,
        access: Access,
        name: str,
        part: SplitPart,
        batch: int,
        *,
        window: int = 8,
        wait: float = 30.0,
        say: Say = lambda line: None,
    ) -> None:
        super().__init__(access, name, part, batch, say=say)
        self.window, self.wait = window, wait
        self.spares = part.run.split.spares
        self.latencies: list[float] = []
        self.moves = 0  # how often a role went to another agent, or was asked again
        self._pending: OrderedDict[int, tuple[Tensors, float]] = OrderedDict()
        self._results: dict[int, torch.Tensor] = {}
        self._weights: dict[str, dict[str, list[float]]] = {}
        self._usual = 0.0

    def open(self) -> None:
        """Meet the servers."""
        self._open()
        self.presence.tell("ready")
        self._gather()

    def close(self) -> None:
        """Let the servers go."""
        self.presence.tell("done")
        self.access.transport.close()

    def results(self, requests: Iterable[Tensors]) -> Iterator[torch.Tensor]:
        """The network's outputs, in the order of the requests; LostQuorum where a server is lost and no spare comes."""
        waiting, number, due, ended = iter(requests), 0, 0, False
        while not ended or due < number:
            while not ended and len(self._pending) + len(self._results) < self.window:
                inputs = next(waiting, None)
                if inputs is None:
                    ended = True
                    break
                self._ask(number, inputs)
                number += 1
            if due in self._results:
                yield self._results.pop(due)
                due += 1
                continue
            self._listen(LOOK)
            self._check()

    def _ask(self, request: int, inputs: Tensors) -> None:
        self._pending[request] = inputs, time.monotonic()
        self._give(request, inputs)

    def _give(self, request: int, inputs: Tensors) -> None:
        if self.stage is None:
            raise RuntimeError("open first")
        self._send(self.stage.give(request, inputs))
        self._collect(request)

    def _take(self, letter: Letter) -> None:
        super()._take(letter)
        self._collect(letter.head.round)

    def _wants(self, request: int) -> bool:
        return request in self._pending

    def _collect(self, request: int) -> None:
        found = None if self.stage is None or request not in self._pending else self.stage.result(request)
        if found is not None:
            _, asked = self._pending.pop(request)
            took = time.monotonic() - asked
            self.latencies.append(took)
            self._usual = took if not self._usual else 0.9 * self._usual + 0.1 * took
            self._results[request] = found

    def _check(self) -> None:
        """Go over to others where a server is lost, and ask again where nothing comes."""
        self.presence.beat()
        lost = self._lost()
        oldest = min((asked for _, asked in self._pending.values()), default=None)
        late = oldest is not None and time.monotonic() - oldest > max(AGAIN, 10 * self._usual)
        if not lost and not late:
            return
        self._say(f"{self.me}: {', '.join(lost) or 'nothing came, everything'} is asked anew")
        self.moves += 1
        self._gather()
        now = time.monotonic()
        for request, (inputs, _) in list(self._pending.items()):
            self._pending[request] = inputs, now
            self._give(request, inputs)

    def _lost(self) -> list[str]:
        found = []
        for member in () if self.roster is None else self.roster.members:
            state = self.members.states.get(member.id)
            if member.id != self.me and (
                state is None or state.status in GONE or state.nonce != member.nonce
            ):
                found.append(member.id)
        return found

    def _gather(self) -> None:
        """Give every role to an agent that is there, and wait until all have taken theirs."""
        until = time.monotonic() + self.wait
        while True:
            given = {role: self._candidate(role) for role in self.roles}
            missing = [role for role, agent in given.items() if agent is None]
            if not missing and self._agreed({role: str(agent) for role, agent in given.items()}, until):
                return
            if time.monotonic() > until:
                raise LostQuorum(
                    f"request {next(iter(self._pending), 0)}: {', '.join(missing) or 'a server'} is not there, and no "
                    f"spare that holds the same weights came within {self.wait:g} s. Start it again, or name spares in "
                    "the run file (split: spares)."
                )
            self._listen(LOOK)
            self.presence.beat()

    def _candidate(self, role: str) -> str | None:
        if role == self.client:
            return self.me
        for agent in (role, *self.spares.get(role, ())):
            state = self.members.states.get(agent)
            if state is None or state.status not in ("ready", "training") or state.schema != self.schema:
                continue
            if self._holds(role, state):
                return agent
        return None

    def _holds(self, role: str, state: State) -> bool:
        """Whether an agent has the weights that this role had in the beginning."""
        wanted = {str(segment.index) for segment in self.segments if self.placement.on[segment.index] == role}
        told = {name: row for name, row in state.facts.items() if name in wanted}
        return told == self._weights.setdefault(role, told)

    def _agreed(self, given: dict[str, str], until: float) -> bool:
        """Write the roster; whether all have entered it."""
        before = 0 if self.members.roster is None else self.members.roster.epoch
        states = self.members.states
        members = tuple(
            Member(n, given[role], states[given[role]].nonce) for n, role in enumerate(self.roles)
        )
        found = RosterDocument(before + 1, 0, members)
        self.members.roster = found
        self._enter(found, self.client)
        self.writer.publish(ROSTER, found.body())
        while time.monotonic() < until and not self._lost():
            others = [states[member.id] for member in members if member.id != self.me]
            if all(state.epoch == found.epoch for state in others):
                return True
            self._listen(LOOK)
            self.presence.beat()
        return False
