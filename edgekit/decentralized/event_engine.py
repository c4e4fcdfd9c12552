"""The event engine: asynchronous algorithms on a virtual clock, every agent at its own pace."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
import torch

from edgekit.decentralized import coding
from edgekit.decentralized.algorithm import AsyncAlgorithm, State
from edgekit.decentralized.coding import Residuals
from edgekit.decentralized.context import Context
from edgekit.decentralized.keys import stream
from edgekit.decentralized.ledger import Ledger
from edgekit.decentralized.links import Links
from edgekit.decentralized.objective import Objective
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.snapshot import Snapshot
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput

Rows = torch.Tensor
JITTER = 0.1  # work takes up to so much longer or shorter, so that equal agents do not march in step


@dataclass(order=True)
class Event:
    """Something that happens at a time.

    finish: `agent` has done its work. offer: `agent` receives `rows[0]` of `partner`, its message `number`. answer:
    `agent` receives `rows[0]` of `partner`, who saw `rows[1]` of it in the offer `number`.
    """

    time: float
    order: int
    kind: str = field(compare=False)
    agent: int = field(compare=False)
    partner: int = field(compare=False, default=-1)
    number: int = field(compare=False, default=-1)
    rows: tuple[Rows, ...] = field(compare=False, default=())


class EventEngine:
    """Runs an asynchronous algorithm on rows [n, P], event after event.

    A round is n pieces of local work, whoever did them. Without links, messages take no time and work takes 1 s.
    """

    def __init__(
        self,
        algorithm: AsyncAlgorithm,
        topology: Topology,
        objective: Objective,
        models: Rows,
        settings: Settings,
        *,
        roster: Roster | None = None,
        links: Links | None = None,
    ) -> None:
        self.algorithm, self.topology, self.settings = algorithm, topology, settings
        self.roster = roster or Roster.of(len(models))
        self.links, self.number, self.seconds = links, 0, 0.0
        self.ledger, self.residuals = Ledger(len(self.roster)), Residuals()
        self.objective = objective
        self.context = Context(
            objective,
            settings.optimizer,
            self.roster.ids,
            len(self.roster),
            local_steps=settings.local_steps,
            accumulate=settings.accumulate,
            seed=settings.seed,
        )
        self.context.open(models)
        self.state: State = algorithm.start(models.clone(), self.context)
        self.works = np.zeros(len(self.roster), np.int64)
        self.seen = self.state["x"].clone()
        self.events: list[Event] = []
        self.order = 0
        graph = topology.graph(self.roster, 0, settings.seed)
        if topology.period(graph.size) != 1:
            raise BadInput(
                f"topology: {algorithm.name} has no rounds in which {topology.name} could change. Choose a graph that "
                "stays, such as ring, complete or random-regular."
            )
        if not graph.symmetric:
            raise BadInput(f"topology: {algorithm.name} averages in pairs, so links must work both ways.")
        self._neighbours = [graph.source[graph.target == agent] for agent in range(graph.size)]
        for agent in range(graph.size):
            self._schedule(self._work_time(agent), "finish", agent)

    @property
    def models(self) -> Rows:
        """The models that the algorithm gives out [n, P]."""
        return self.algorithm.output(self.state)

    def round(self) -> float:
        """Events until n more pieces of work are done; the mean training loss of their batches."""
        goal = len(self.roster) * (self.number + 1)
        while self.works.sum() < goal:
            event = heapq.heappop(self.events)
            self.seconds = event.time
            self._happen(event)
        self.number += 1
        self.context.buffers.reclaim(self.state.values())
        return self.context.mean_loss()

    def snapshot(self) -> Snapshot:
        """All that decides the events to come."""
        found = Snapshot()
        found.put("state", self.state)
        found.put("kept", self.context.kept)
        found.put("seen", {"rows": self.seen})
        found.put_residuals(self.residuals)
        counts = {"draws": self.context.draws, "gradients": self.context.gradients, "works": self.works}
        counts |= {"bytes": self.ledger.bytes, "messages": self.ledger.messages}
        found.put("counts", {name: torch.from_numpy(value) for name, value in counts.items()})
        waiting = sorted(self.events)
        for index, event in enumerate(waiting):
            found.put(f"event {index}", {str(place): row for place, row in enumerate(event.rows)})
        found.facts |= {"number": self.number, "seconds": self.seconds, "order": self.order}
        found.facts["events"] = [[e.time, e.order, e.kind, e.agent, e.partner, e.number] for e in waiting]
        return found

    def restore(self, found: Snapshot) -> None:
        """Go on from a snapshot."""
        self.state, self.context.kept = found.take("state"), found.take("kept")
        self.seen, self.residuals = found.take("seen")["rows"], found.take_residuals()
        counts = {name: value.numpy() for name, value in found.take("counts").items()}
        self.context.draws[:], self.context.gradients[:] = counts["draws"], counts["gradients"]
        self.ledger.bytes[:], self.ledger.messages[:] = counts["bytes"], counts["messages"]
        self.works[:] = counts["works"]
        self.number, self.seconds = found.facts["number"], found.facts["seconds"]
        self.order = found.facts["order"]
        self.events = [
            Event(time, order, kind, agent, partner, number, tuple(found.take(f"event {index}").values()))
            for index, (time, order, kind, agent, partner, number) in enumerate(found.facts["events"])
        ]

    def _schedule(
        self,
        delay: float,
        kind: str,
        agent: int,
        partner: int = -1,
        number: int = -1,
        rows: tuple[Rows, ...] = (),
    ) -> None:
        heapq.heappush(
            self.events, Event(self.seconds + delay, self.order, kind, agent, partner, number, rows)
        )
        self.order += 1

    def _happen(self, event: Event) -> None:
        if event.kind == "finish":
            self._finish(event.agent)
        elif event.kind == "offer":
            self._answer(event.agent, event.partner, event.number, event.rows[0])
        else:
            self.algorithm.merge(self.state, event.agent, event.rows[0], event.rows[1])

    def _finish(self, agent: int) -> None:
        """An agent's work is done: apply it, meet a neighbour, begin the next."""
        context = self.context.take(agent)
        context.round = self._round_of(agent)
        context.lr = self.settings.optimizer.lr * self.settings.schedule.at(
            context.round, self.settings.rounds
        )
        self.algorithm.local(self.state, agent, self.seen[agent : agent + 1], context)
        context.advance()
        self.works[agent] += 1
        self._meet(agent)
        self.seen[agent] = self.state["x"][agent]
        self._schedule(self._work_time(agent), "finish", agent)

    def _meet(self, agent: int) -> None:
        neighbours, count = self._neighbours[agent], int(self.works[agent])
        if not len(neighbours) or self._absent(agent, count):
            return
        chance = stream(self.settings.seed, "partner", self.roster.ids[agent], count)
        partner = int(neighbours[chance.integers(len(neighbours))])
        number = int(self.ledger.messages[agent])
        seen, travel = self._send(agent, partner)
        self._schedule(travel, "offer", partner, agent, number, (seen,))

    def _round_of(self, agent: int) -> int:
        """The round that an agent's work counts for: the learning rate follows it."""
        return self.number

    def _answer(self, agent: int, partner: int, number: int, offered: Rows) -> None:
        """A partner's model has arrived: send the own back, then take in half of the difference."""
        own, travel = self._send(agent, partner)
        self.algorithm.merge(self.state, agent, offered, own)
        self._schedule(travel, "answer", partner, agent, number, (own, offered))

    def _send(self, agent: int, receiver: int) -> tuple[Rows, float]:
        """(what is seen of an agent's model, how long it travels)."""
        row, codec = self.state["x"][agent], self.settings.codec
        spec, number = self.objective.layout.spec(row.dtype), self.roster.ids[agent]
        residual = self.residuals.of(codec, spec, "model", number)
        random = stream(self.settings.seed, "codec", number, int(self.ledger.messages[agent]))
        payload, seen = codec.transmit(coding.as_array(row), spec, random, residual)
        self.ledger.send(np.array([agent]), np.array([receiver]), len(payload))
        return coding.as_tensor(seen, row), self._travel(len(payload))

    def _absent(self, agent: int, count: int) -> bool:
        rate = self.settings.absence.rate
        chance = stream(self.settings.seed, "absent", self.roster.ids[agent], count)
        return bool(rate) and float(chance.random()) < rate

    def _work_time(self, agent: int) -> float:
        number, count = self.roster.ids[agent], int(self.works[agent])
        chance = float(stream(self.settings.seed, "work", number, count).random())
        steps = self.settings.local_steps * self.settings.accumulate
        each = self.links.seconds_per_gradient if self.links and self.links.seconds_per_gradient else 1.0
        speed = self.links.speed_of(number, self.settings.seed) if self.links else 1.0
        return steps * each / speed * (1 + JITTER * (2 * chance - 1))

    def _travel(self, size: int) -> float:
        if self.links is None:
            return 0.0
        return 2 * self.links.latency_ms / 1000 + size * 8 / (self.links.bandwidth_mbps * 1e6)
