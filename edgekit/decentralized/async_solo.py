"""One agent of an asynchronous run, without a network: its work, and its part in meetings of two.

Whoever drives it moves the bytes, and may call `offered` and `answered` between any two pieces of work; the next piece
has begun when the one before ended, as in the event engine. `events` is what happened, in order; all agents' events
replayed there give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from edgekit.codecs.codec import BadPayload, Payload
from edgekit.decentralized import coding
from edgekit.decentralized.algorithm import AsyncAlgorithm, State
from edgekit.decentralized.coding import Residuals
from edgekit.decentralized.context import Context
from edgekit.decentralized.gossip import squared_distance
from edgekit.decentralized.keys import stream
from edgekit.decentralized.objective import Objective
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.snapshot import Snapshot
from edgekit.decentralized.topology import Topology

Rows = torch.Tensor
KEPT = 64  # offers whose answers may still come, and answers that may be asked for again


@dataclass(frozen=True)
class Happening:
    """finish: work is done. offer: an offer of `partner` came in, answer: its answer; `number` is the message's own."""

    kind: str
    partner: int = -1
    number: int = -1


@dataclass
class AsyncSolo:
    """The agent `agent` of a run; its model is a row [1, P].

    messages: how many it has sent; works: pieces of work done; sent: payload bytes.
    """

    algorithm: AsyncAlgorithm
    topology: Topology
    objective: Objective
    first: Rows
    settings: Settings
    roster: Roster
    agent: int
    events: list[Happening] = field(default_factory=list)
    works: int = 0
    messages: int = 0
    sent: int = 0
    spread: float | None = None

    def __post_init__(self) -> None:
        settings = self.settings
        self.context = Context(
            self.objective,
            settings.optimizer,
            (self.agent,),
            len(self.roster),
            local_steps=settings.local_steps,
            accumulate=settings.accumulate,
            seed=settings.seed,
        )
        self.context.open(self.first)
        self.residuals = Residuals()
        self.enter(self.roster, self.first)

    @property
    def model(self) -> Rows:
        """The model that the algorithm gives out [1, P]."""
        return self.algorithm.output(self.state)

    def enter(self, roster: Roster, model: Rows) -> None:
        """Go on among these agents from a model [1, P]; meetings that were under way are forgotten."""
        self.roster, self.position = roster, roster.ids.index(self.agent)
        self.neighbours = self.topology.graph(roster, 0, self.settings.seed).senders(self.position)
        self.state: State = self.algorithm.start(model.clone(), self.context)
        self.seen = self.state["x"].clone()
        self._offers: dict[int, Rows] = {}
        self._answers: dict[tuple[int, int], bytes] = {}

    def work(self) -> float:
        """Finish a piece of work and begin the next; the mean training loss of its batches."""
        context = self.context.take(0)
        context.round = self.works
        context.lr = self.settings.optimizer.lr * self.settings.schedule.at(self.works, self.settings.rounds)
        self.algorithm.local(self.state, 0, self.seen, context)
        context.advance()
        self.context.lr = context.lr
        self.works += 1
        self.events.append(Happening("finish"))
        return context.mean_loss()

    def meet(self) -> tuple[int, int, bytes] | None:
        """(a neighbour's position, the offer's number, its bytes) after a piece of work; None where nobody is met."""
        met = None
        if self.neighbours and not self._absent():
            chance = stream(self.settings.seed, "partner", self.agent, self.works)
            partner = self.neighbours[chance.integers(len(self.neighbours))]
            number, payload, seen = self._send()
            self._offers[number] = seen
            for old in list(self._offers)[:-KEPT]:
                del self._offers[old]
            met = partner, number, payload
        self.seen = self.state["x"].clone()  # the next piece of work begins here
        return met

    def offered(self, partner: int, number: int, payload: Payload) -> bytes | None:
        """The answer to an offer, the same one to the same offer; None where the offer makes no sense."""
        if (partner, number) in self._answers:
            return self._answers[partner, number]
        theirs = self._decoded(payload)
        if theirs is None:
            return None
        _, answer, own = self._send()
        self.algorithm.merge(self.state, 0, theirs, own)
        self._measure(theirs, own)
        self.events.append(Happening("offer", partner, number))
        self._answers[partner, number] = answer
        for old in list(self._answers)[:-KEPT]:
            del self._answers[old]
        return answer

    def answered(self, partner: int, number: int, payload: Payload) -> bool:
        """Take in the answer to an own offer; False where there is no such offer, or the answer makes no sense."""
        theirs = self._decoded(payload) if number in self._offers else None
        if theirs is None:
            return False
        own = self._offers.pop(number)
        self.algorithm.merge(self.state, 0, theirs, own)
        self._measure(theirs, own)
        self.events.append(Happening("answer", partner, number))
        return True

    def snapshot(self) -> Snapshot:
        """All that decides the work to come, but for meetings under way."""
        found = Snapshot()
        found.put("state", self.state)
        found.put("kept", self.context.kept)
        found.put("seen", {"rows": self.seen})
        found.put_residuals(self.residuals)
        if self.agent in self.objective.buffers:
            found.put("buffers", {"own": self.objective.buffers[self.agent]})
        found.facts |= {
            "number": self.works,
            "ids": list(self.roster.ids),
            "messages": self.messages,
            "sent": self.sent,
            "draws": int(self.context.draws[0]),
            "gradients": int(self.context.gradients[0]),
        }
        return found

    def restore(self, found: Snapshot) -> None:
        """Go on from a snapshot."""
        self.state, self.context.kept = found.take("state"), found.take("kept")
        self.seen, self.residuals = found.take("seen")["rows"], found.take_residuals()
        for row in found.take("buffers").values():
            self.objective.buffers[self.agent].copy_(row)
        self.works, self.messages = found.facts["number"], found.facts["messages"]
        self.sent = found.facts["sent"]
        self.context.draws[0], self.context.gradients[0] = found.facts["draws"], found.facts["gradients"]

    def _send(self) -> tuple[int, bytes, Rows]:
        """(number, bytes, what is seen [P]) of the model as it is now."""
        row, codec, number = self.state["x"][0], self.settings.codec, self.messages
        spec = self.objective.layout.spec(row.dtype)
        residual = self.residuals.of(codec, spec, "model", self.agent)
        random = stream(self.settings.seed, "codec", self.agent, number)
        payload, seen = codec.transmit(coding.as_array(row), spec, random, residual)
        self.messages += 1
        self.sent += len(payload)
        return number, payload, coding.as_tensor(seen, row)

    def _decoded(self, payload: Payload) -> Rows | None:
        row = self.state["x"][0]
        try:
            return coding.as_tensor(
                self.settings.codec.decode(payload, self.objective.layout.spec(row.dtype)), row
            )
        except BadPayload:
            return None

    def _measure(self, theirs: Rows, own: Rows) -> None:
        self.spread = squared_distance(theirs, own)

    def _absent(self) -> bool:
        rate = self.settings.absence.rate
        return (
            bool(rate) and float(stream(self.settings.seed, "absent", self.agent, self.works).random()) < rate
        )
