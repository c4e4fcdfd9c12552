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
from edgekit.decentralized.keys import stream
from edgekit.decentralized.ledger import Ledger
from edgekit.decentralized.links import VirtualClock
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.objective import Objective
from edgekit.decentralized.requirements import check_matrix
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.snapshot import Snapshot
from edgekit.decentralized.topology import Topology
from edgekit.decentralized.vector_exchange import Round, VectorExchange

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
        self._mixings: dict[int, Mixing] = {}
        self._enter(models)

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
        return self._loss()

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
        settings, roster = self.settings, self.roster
        present = settings.absence.present(roster.ids, self.number, settings.seed)
        mixing = self._mixing()
        keep_columns = self.algorithm.mixing == "column"
        if not present.all():
            mixing = mixing.without(
                lambda source, target: ~(present[source] & present[target]), keep_columns=keep_columns
            )
        if settings.absence.loss:
            mixing = mixing.without(self._lost, keep_columns=keep_columns)
        groups = self.topology.groups(roster, self.number, settings.seed)
        return Round(self.number, mixing, groups, present)

    def change_roster(self, roster: Roster) -> None:
        """Go on with other agents: who stays keeps its model, who joins starts from the mean of theirs.

        The algorithm starts anew from the models, so that what it keeps beside them fits the new graph.
        """
        old = {agent: position for position, agent in enumerate(self.roster.ids)}
        models, size = self.models, len(roster)
        mean = models.mean(0)
        rows = torch.stack([models[old[agent]] if agent in old else mean for agent in roster.ids])
        kept, context = self.context.kept, self.context
        draws = np.array([context.draws[old[agent]] if agent in old else 0 for agent in roster.ids], np.int64)
        sent = self.ledger
        self.ledger = Ledger(size, self.clock)
        for position, agent in enumerate(roster.ids):
            if agent in old:
                self.ledger.bytes[position] = sent.bytes[old[agent]]
                self.ledger.messages[position] = sent.messages[old[agent]]
        self.roster, self.buffers = roster, Buffers()
        self._mixings.clear()
        self._enter(rows)
        self.context.draws[:] = draws
        for name, value in kept.items():
            for position, agent in enumerate(roster.ids):
                if agent in old:
                    self.context.kept[name][position] = value[old[agent]]

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
        check_matrix(self.algorithm, self._mixing(), f"topology {self.topology.name}")
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
        self.exchange.open("model", models)
        self.state = self.algorithm.start(models.clone(), self.context)

    def _mixing(self) -> Mixing:
        period = self.topology.period(len(self.roster))
        place = self.number if period is None else self.number % period
        if period is None:
            self._mixings.clear()
        if place not in self._mixings:
            rule = self.settings.weights
            if rule is None and self.algorithm.mixing == "column":
                rule = "column-stochastic"
            self._mixings[place] = self.topology.mixing(self.roster, self.number, self.settings.seed, rule)
        return self._mixings[place]

    def _lost(self, source: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """A link that fails in a round fails both ways, so that both ends agree that they did not mix."""
        size = len(self.roster)
        drawn = stream(self.settings.seed, "loss", self.number).random(size * size)
        low, high = np.minimum(source, target), np.maximum(source, target)
        return np.asarray(drawn[low * size + high] < self.settings.absence.loss)

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

    def _loss(self) -> float:
        losses, self.context.losses = self.context.losses, []
        return float(torch.cat([loss.reshape(-1) for loss in losses]).mean()) if losses else float("nan")
