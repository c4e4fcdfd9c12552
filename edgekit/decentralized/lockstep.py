"""Every agent by itself, in step: the devices' side of a run without a network.

What the vector engine computes for all rows at once must come out of this bit for bit; the conformance kit holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.peer import Incoming, Outgoing, Peer, Phases
from edgekit.decentralized.vector_exchange import Round


class Lockstep:
    """Agents with one row each, whose messages are handed over in memory.

    contexts, peers, states: one an agent. `bytes` [n] counts what each has sent.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        contexts: Sequence[Context],
        peers: Sequence[Peer],
        models: torch.Tensor,
    ) -> None:
        self.algorithm, self.contexts, self.peers = algorithm, contexts, peers
        self.states: list[State] = []
        self.bytes = [0] * len(peers)
        for index, context in enumerate(contexts):
            row = models[index : index + 1].clone()
            context.open(row)
            peers[index].open("model", row)
            self.states.append(algorithm.start(row, context))

    @property
    def models(self) -> torch.Tensor:
        """The output of every agent [n, P]."""
        return torch.cat([self.algorithm.output(state) for state in self.states])

    def round(self, now: Round, number: int) -> None:
        """One round of all agents."""
        for context in self.contexts:
            context.round = number
        running = [
            self.algorithm.round(state, context)
            for state, context in zip(self.states, self.contexts, strict=True)
        ]
        replies: list[Any] = [None] * len(running)
        while True:
            requests = [_advance(steps, reply) for steps, reply in zip(running, replies, strict=True)]
            if requests[0] is None:
                break
            phases = [
                peer.exchange(request, now)
                for peer, request in zip(self.peers, requests, strict=True)
                if request is not None
            ]
            replies = self._deliver(phases)
        for context in self.contexts:
            context.advance()

    def _deliver(self, phases: list[Phases]) -> list[Any]:
        replies: list[Any] = [None] * len(phases)
        waiting: dict[int, Outgoing] = {}
        for index, phase in enumerate(phases):
            _step(index, phase, None, waiting, replies)
        while waiting:
            sent, waiting = waiting, {}
            mail: dict[int, Incoming] = {index: {} for index in range(len(phases))}
            for sender, outgoing in sent.items():
                for receiver, payload in outgoing.items():
                    mail[receiver][sender] = payload
                    self.bytes[sender] += len(payload)
            for index in sent:
                _step(index, phases[index], mail[index], waiting, replies)
        return replies


def _advance(steps: Any, reply: Any) -> Any:
    try:
        return steps.send(reply)
    except StopIteration:
        return None


def _step(
    index: int, phase: Phases, incoming: Incoming | None, waiting: dict[int, Outgoing], replies: list[Any]
) -> None:
    try:
        waiting[index] = phase.send(incoming)  # type: ignore[arg-type]
    except StopIteration as stop:
        replies[index] = stop.value
