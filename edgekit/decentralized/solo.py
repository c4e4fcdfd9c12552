"""One agent of a synchronous run, without a network: its rounds are generators of phases.

What the vector engine computes for all rows at once comes out of this for one row, bit for bit.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

import torch

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.buffers import Buffers
from edgekit.decentralized.coding import RAW
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Group, Mix
from edgekit.decentralized.objective import Objective
from edgekit.decentralized.peer import KEPT, Incoming, Peer, Phase
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.rounds import Rounds
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.snapshot import Snapshot
from edgekit.decentralized.topology import Topology

Rows = torch.Tensor
Stage = Generator[Phase, Incoming, float]


class Solo:
    """The agent `agent` of a run; its model is a row [1, P].

    >>> stage = solo.round()                      # doctest: +SKIP
    >>> phase = next(stage)                       # doctest: +SKIP
    >>> phase = stage.send(what_arrived)          # doctest: +SKIP
    """

    def __init__(
        self,
        algorithm: Algorithm,
        topology: Topology,
        objective: Objective,
        model: Rows,
        settings: Settings,
        roster: Roster,
        agent: int,
    ) -> None:
        self.algorithm, self.topology, self.objective = algorithm, topology, objective
        self.settings, self.agent, self.number = settings, agent, 0
        self.buffers = Buffers()
        self.context = Context(
            objective,
            settings.optimizer,
            (agent,),
            len(roster),
            local_steps=settings.local_steps,
            accumulate=settings.accumulate,
            seed=settings.seed,
            buffers=self.buffers,
        )
        self.context.open(model)
        self._first, self._state = model, None  # type: tuple[Rows, State | None]
        self._join(roster, model, {})

    @property
    def state(self) -> State:
        """What the algorithm keeps. It starts when it is first asked for: not at all where the agent enters anew."""
        if self._state is None:
            self._state = self.algorithm.start(self._first.clone(), self.context)
        return self._state

    @property
    def model(self) -> Rows:
        """The model that the algorithm gives out [1, P]."""
        return self._first if self._state is None else self.algorithm.output(self._state)

    def enter(self, roster: Roster, model: Rows, copies: Mapping[int, Rows] | None = None) -> None:
        """Go on among these agents from a model [1, P]: the algorithm starts anew, the optimizer's memory stays.

        copies: the models [P] that neighbours start from, by position; this agent's own where there are none.
        """
        self._join(roster, model, copies or {})
        self._state = self.algorithm.start(model.clone(), self.context)

    def _join(self, roster: Roster, model: Rows, copies: Mapping[int, Rows]) -> None:
        self.roster, self.position = roster, roster.ids.index(self.agent)
        self.context.size = len(roster)
        self.rounds = Rounds(self.algorithm, self.topology, roster, self.settings)
        self.rounds.check(self.number)
        self.peer = Peer(
            self.settings.codec,
            self.objective.layout,
            roster.ids,
            self.position,
            seed=self.settings.seed,
            keep_columns=self.rounds.keep_columns,
        )
        if self.algorithm.public:
            self.peer.open("model", self._first_copies(model, copies))

    def _first_copies(self, model: Rows, given: Mapping[int, Rows]) -> dict[int, Rows]:
        known = self.rounds.mixing(self.number).graph.senders(self.position)
        return {self.position: model[0], **{source: given.get(source, model[0]) for source in known}}

    def round(self) -> Stage:
        """The phases of one round; returns the mean training loss of its batches, NaN where it used none."""
        now, context = self.rounds.at(self.number), self.context
        self.peer.forgive(self.number - KEPT)
        context.round = self.number
        context.lr = self.settings.optimizer.lr * self.settings.schedule.at(self.number, self.settings.rounds)
        if now.present[self.position]:
            steps, reply, index = self.algorithm.round(self.state, context), None, 0
            while True:
                try:
                    request = steps.send(reply)
                except StopIteration:
                    break
                reply = yield from self.peer.exchange(request, now, index)
                index += 1
            mixed = self._buffers_request()
            if mixed is not None:
                self._take_buffers((yield from self.peer.exchange(mixed, now, index)))
            context.advance()
        self.buffers.reclaim(self.state.values())
        self.number += 1
        return context.mean_loss()

    def _buffers_request(self) -> Mix | None:
        """Running statistics are averaged as the models are; with weights of mass 1 where W keeps columns."""
        kept = self.objective.buffers.get(self.agent)
        if kept is None or self.settings.buffers == "local":
            return None
        row = kept.unsqueeze(0)
        if self.algorithm.mixing == "none":
            return Group((row,), "buffers", RAW, "groups" if self.algorithm.groups else "all")
        return Mix((row, row.new_ones(1, 1)), "buffers", RAW)

    def _take_buffers(self, reply: object) -> None:
        mixed = reply if isinstance(reply, torch.Tensor) else reply.sums[0] / reply.sums[1]  # type: ignore[attr-defined]
        self.objective.buffers[self.agent].copy_(mixed[0])

    def snapshot(self) -> Snapshot:
        """All that decides the rounds to come, but for messages under way."""
        found = Snapshot()
        found.put("state", self.state)
        found.put("kept", self.context.kept)
        for slot, copies in self.peer.public.items():
            found.put(f"public {slot}", {str(position): row for position, row in copies.items()})
        for slot, rows in self.peer.owed.items():
            found.put(f"owed {slot}", {str(index): row for index, row in rows.items()})
        if self.agent in self.objective.buffers:
            found.put("buffers", {"own": self.objective.buffers[self.agent]})
        found.put_residuals(self.peer.residuals)
        found.facts |= {
            "number": self.number,
            "ids": list(self.roster.ids),
            "draws": int(self.context.draws[0]),
            "gradients": int(self.context.gradients[0]),
            "slots": [list(self.peer.public), list(self.peer.owed)],
        }
        return found

    def restore(self, found: Snapshot) -> None:
        """Go on from a snapshot that was taken among the same agents."""
        self._state, self.context.kept = found.take("state"), found.take("kept")
        public, owed = found.facts["slots"]
        self.peer.public = {slot: _by_number(found.take(f"public {slot}")) for slot in public}
        self.peer.owed = {slot: _by_number(found.take(f"owed {slot}")) for slot in owed}
        for row in found.take("buffers").values():
            self.objective.buffers[self.agent].copy_(row)
        self.peer.residuals = found.take_residuals()
        self.context.draws[0], self.context.gradients[0] = found.facts["draws"], found.facts["gradients"]
        self.number = found.facts["number"]


def _by_number(rows: Mapping[str, Rows]) -> dict[int, Rows]:
    return {int(name): row for name, row in rows.items()}
