"""The vector engine: all agents of a run as rows of one process."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.buffers import Buffers
from edgekit.decentralized.coding import RAW
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Group, Mix
from edgekit.decentralized.gossip import mean_rows
from edgekit.decentralized.ledger import Ledger
from edgekit.decentralized.links import VirtualClock
from edgekit.decentralized.objective import Objective
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.rounds import Round, Rounds
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.snapshot import Snapshot
from edgekit.decentralized.sponsors import sponsors
from edgekit.decentralized.topology import Topology
from edgekit.decentralized.vector_exchange import VectorExchange

Rows = torch.Tensor


class VectorEngine:
    """Runs a synchronous algorithm on rows [n, P].

    >>> engine = VectorEngine(DPSGD(), Ring(), objective, models, Settings(rounds=100))    # doctest: +SKIP
    >>> for _ in range(100): engine.round()                                                # doctest: +SKIP
    """

    def __init__(
        self,
        algorithm: Algorithm,
        topology: Topology,
        objective: Objective,
        models: Rows,
        settings: Settings,
        *,
        roster: Roster | None = None,
        clock: VirtualClock | None = None,
    ) -> None:
        self.algorithm, self.topology, self.objective, self.settings = (
            algorithm,
            topology,
            objective,
            settings,
        )
        self.roster = roster or Roster.of(len(models))
        self.clock = clock
        self.number = 0
        self.ledger = Ledger(len(self.roster), clock)
        self.buffers = Buffers()
        self._enter(models)
        self._start(models)

    @property
    def models(self) -> Rows:
        """The models that the algorithm gives out [n, P]."""
        return self.algorithm.output(self.state)

    def round(self) -> float:
        """One round; the mean training loss of the batches it used."""
        now = self.now()
        context = self.context
        context.round = self.number
        context.lr = self.settings.optimizer.lr * self.settings.schedule.at(self.number, self.settings.rounds)
        absent = np.flatnonzero(~now.present)
        saved = self._rows_of(absent)
        before = context.gradients.copy()
        steps, reply = self.algorithm.round(self.state, context), None
        while True:
            self._tick(before)
            try:
                request = steps.send(reply)
            except StopIteration:
                break
            self._tick(before)
            reply = self.exchange.serve(request, now)
        self._tick(before)
        self._mix_buffers(now)
        context.advance()
        self._restore(absent, saved)
        self.buffers.reclaim(self.state.values())
        self.number += 1
        return self.context.mean_loss()

    def _mix_buffers(self, now: Round) -> None:
        """Average running statistics as the models are averaged; with weights of mass 1 where W keeps columns."""
        kept = self.objective.buffers
        if not kept or self.settings.buffers == "local":
            return
        rows = torch.stack([kept[agent] for agent in self.roster.ids])
        ones = rows.new_ones(len(rows), 1)
        if self.algorithm.mixing == "none":
            among = "groups" if self.algorithm.groups else "all"
            mixed = self.exchange.serve(Group((rows,), "buffers", RAW, among), now)
        else:
            reply = self.exchange.serve(Mix((rows, ones), "buffers", RAW), now)
            mixed = reply.sums[0] / reply.sums[1]
        for agent, row in zip(self.roster.ids, mixed, strict=True):
            kept[agent].copy_(row)

    def now(self) -> Round:
        """What holds in the coming round."""
        return self.rounds.at(self.number)

    def change_roster(self, roster: Roster) -> None:
        """Go on with other agents: who stays keeps its model, who joins starts from the mean of its sponsors' models.

        The algorithm starts anew from the models, so that what it keeps beside them fits the new graph.
        """
        old = {agent: position for position, agent in enumerate(self.roster.ids)}
        new = [position for position, agent in enumerate(roster.ids) if agent not in old]
        models, kept, context, sent = self.models, self.context.kept, self.context, self.ledger
        graph = Rounds(self.algorithm, self.topology, roster, self.settings).mixing(self.number).graph
        asked = sponsors(graph, frozenset(new))
        rows = models.new_empty(len(roster), models.shape[1])
        for position, agent in enumerate(roster.ids):
            givers = [roster.ids[giver] for giver in asked.get(position, (position,))]
            rows[position] = _mean([models[old[giver]] for giver in givers])
            if position in asked and agent in self.objective.buffers:
                given = [self.objective.buffers[giver] for giver in givers]
                self.objective.buffers[agent].copy_(_mean(given))
        if self.clock is not None:
            speeds = np.ones(len(roster)) if roster.speeds is None else roster.speeds
            self.clock = self.clock.among(speeds, [old.get(agent) for agent in roster.ids])
        self.roster, self.buffers, self.ledger = roster, Buffers(), Ledger(len(roster), self.clock)
        self._enter(rows)
        for position, agent in enumerate(roster.ids):
            if agent in old:
                self._keep(position, old[agent], kept, context, sent)
        self._start(rows)

    def _keep(
        self, position: int, before: int, kept: dict[str, Rows], context: Context, sent: Ledger
    ) -> None:
        """What an agent that stays has beside its model: batches drawn, the optimizer's memory, bytes sent."""
        self.context.draws[position] = context.draws[before]
        self.context.gradients[position] = context.gradients[before]
        self.ledger.bytes[position] = sent.bytes[before]
        self.ledger.messages[position] = sent.messages[before]
        for name, value in kept.items():
            self.context.kept[name][position] = value[before]

    def snapshot(self) -> Snapshot:
        """All that decides the rounds to come."""
        found = Snapshot()
        found.put("state", self.state)
        found.put("kept", self.context.kept)
        found.put("public", self.exchange.public)
        found.put("buffers", {str(agent): row for agent, row in self.objective.buffers.items()})
        found.put_residuals(self.exchange.residuals)
        counts: dict[str, npt.NDArray[np.generic]] = {"draws": self.context.draws}
        counts |= {"gradients": self.context.gradients, "bytes": self.ledger.bytes}
        counts["messages"] = self.ledger.messages
        if self.clock is not None:
            counts["free"] = self.clock.free
        found.put("counts", {name: torch.from_numpy(value) for name, value in counts.items()})
        found.facts |= {"number": self.number, "ids": list(self.roster.ids), **self.exchange.arcs()}
        return found

    def restore(self, found: Snapshot) -> None:
        """Go on from a snapshot of an engine with the same roster."""
        self.state: State = found.take("state")
        self.context.kept = found.take("kept")
        self.exchange.public = found.take("public")
        for agent, row in found.take("buffers").items():
            self.objective.buffers[int(agent)].copy_(row)
        self.exchange.residuals = found.take_residuals()
        counts = {name: value.numpy() for name, value in found.take("counts").items()}
        self.context.draws[:], self.context.gradients[:] = counts["draws"], counts["gradients"]
        self.ledger.bytes[:], self.ledger.messages[:] = counts["bytes"], counts["messages"]
        if self.clock is not None:
            self.clock.free[:] = counts["free"]
        self.number = found.facts["number"]
        self.exchange.set_arcs(found.facts)

    def _enter(self, models: Rows) -> None:
        settings = self.settings
        self.context = Context(
            self.objective,
            settings.optimizer,
            self.roster.ids,
            len(self.roster),
            local_steps=settings.local_steps,
            accumulate=settings.accumulate,
            seed=settings.seed,
            buffers=self.buffers,
        )
        self.rounds = Rounds(self.algorithm, self.topology, self.roster, settings)
        self.rounds.check(self.number)
        self.context.open(models)
        self.exchange = VectorExchange(
            settings.codec,
            self.objective.layout,
            self.roster.ids,
            self.ledger,
            self.buffers,
            seed=settings.seed,
            strict=settings.strict,
        )
        if self.algorithm.public:
            self.exchange.open("model", models)

    def _start(self, models: Rows) -> None:
        """Start the algorithm; the agents' counters are those that they come with."""
        self.state = self.algorithm.start(models.clone(), self.context)

    def _tick(self, before: npt.NDArray[np.int64]) -> None:
        if self.clock is not None:
            self.clock.compute(self.context.gradients - before)
            before[:] = self.context.gradients

    def _rows_of(self, absent: npt.NDArray[np.int64]) -> dict[str, dict[str, Rows]] | None:
        if not len(absent):
            return None
        where = torch.from_numpy(absent)
        return {
            "state": {name: value[where].clone() for name, value in self.state.items()},
            "kept": {name: value[where].clone() for name, value in self.context.kept.items()},
        }

    def _restore(self, absent: npt.NDArray[np.int64], saved: dict[str, dict[str, Rows]] | None) -> None:
        """Who was absent did nothing: neither trained, nor mixed, nor used a batch."""
        if saved is None:
            return
        where = torch.from_numpy(absent)
        for name, value in saved["state"].items():
            self.state[name][where] = value
        for name, value in saved["kept"].items():
            self.context.kept[name][where] = value
        self.context.draws[absent] -= self.context.accumulate * self.context.local_steps


def _mean(rows: list[Rows]) -> Rows:
    return mean_rows(rows, [1.0] * len(rows), torch.empty_like(rows[0]))
