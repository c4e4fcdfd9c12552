"""From a network and its placement to what each agent runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn

from edgekit.errors import BadInput
from edgekit.split.network import Network
from edgekit.split.placement import Placement, Transfer, transfers
from edgekit.split.program import Batches, Mode, Program, Rhythm, Test, flat
from edgekit.split.segment import Segment, segments_of
from edgekit.split.worker import Loss, Penalty, Worker

CLIENT = "client"  # stands for each of several clients in a placement
MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Split:
    """A network that is cut and placed.

    assignment: the segment of each operation; clients: who hold data, each a chain of its own; where there are several,
    `client` in the placement stands for each.
    """

    network: Network
    assignment: Sequence[int]
    placement: Placement
    clients: tuple[str, ...]
    mode: Mode = "sequential"
    averager: str | None = None

    @cached_property
    def segments(self) -> list[Segment]:
        """The network's own, in the order of computation."""
        return segments_of(self.network, self.assignment)

    @property
    def agents(self) -> tuple[str, ...]:
        """Everyone who takes part."""
        found = [agent for chain in range(len(self.clients)) for agent in self.placed(chain).agents]
        if self.averager is not None:
            found.append(self.averager)
        return tuple(dict.fromkeys(found))

    def placed(self, chain: int) -> Placement:
        """The placement of one chain."""
        name = self.clients[chain]
        put = lambda agent: name if agent == CLIENT else agent  # noqa: E731
        given = self.placement
        return replace(
            given,
            on=tuple(map(put, given.on)),
            inputs=tuple(map(put, given.inputs)),
            labels=put(given.labels),
        )

    def check(self) -> list[str]:
        """Warnings; BadInput for what cannot work."""
        if len(self.clients) > 1 and CLIENT not in (*self.placement.on, *self.placement.inputs):
            raise BadInput(
                f"placement: {len(self.clients)} clients, but none has a place. Write 'client' where each "
                "stands."
            )
        for chain in range(len(self.clients)):
            self.placed(chain).check(self.network, self.segments)
        norms = [
            part for part in self.network.model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)
        ]
        if norms:
            return [
                "the model has BatchNorm: statistics are those of each micro-batch and chain, so the split network "
                "is not the whole one with micro-batches or several clients. Choose norm: group."
            ]
        return []

    def transfers(self) -> list[Transfer]:
        """What leaves each device in a step, of all chains, and the weights in between."""
        rows = [
            row
            for chain in range(len(self.clients))
            for row in transfers(self.network, self.segments, self.placed(chain))
        ]
        return rows + self._weights()

    def _weights(self) -> list[Transfer]:
        if len(self.clients) < 2:
            return []
        length, dtype = self._client_row()
        shape, size = (length,), length * dtype.itemsize
        row = lambda giver, taker: Transfer(giver, taker, "weights", "segments", shape, size, -1, -1)  # noqa: E731
        if self.mode == "sequential":
            return [row(one, self.clients[(i + 1) % len(self.clients)]) for i, one in enumerate(self.clients)]
        averager = self.averager or self.clients[0]
        others = [client for client in self.clients if client != averager]
        return [row(one, averager) for one in others] + [row(averager, one) for one in others]

    def _client_row(self) -> tuple[int, torch.dtype]:
        """Length and dtype of a client's segments as one row."""
        row = flat([segment for segment in self.segments if self.placement.on[segment.index] == CLIENT])
        return len(row), row.dtype

    def programs(
        self,
        loss: Loss,
        optimizer: MakeOptimizer,
        rhythm: Rhythm,
        batches: Callable[[str], Batches],
        *,
        only: Sequence[str] | None = None,
        penalty: Penalty | None = None,
        test: Callable[[str], Test] | None = None,
    ) -> dict[str, Program]:
        """The program of every agent, or of those that are here."""
        chains = [self._segments(chain) for chain in range(len(self.clients))]
        found = {}
        for agent in self.agents if only is None else only:
            workers = self._workers(agent, chains, loss, optimizer, penalty)
            found[agent] = Program(
                agent,
                workers,
                self.clients,
                self.mode,
                rhythm,
                batches(agent),
                averager=self.averager,
                row=self._client_row(),
                test=None if test is None else test(agent),
            )
        return found

    def _segments(self, chain: int) -> list[Segment]:
        """The segments of a chain: the first chain's are the network's own; others copy what is not shared."""
        return self.segments if chain == 0 else copy.deepcopy(self.segments)

    def _workers(
        self,
        agent: str,
        chains: Sequence[Sequence[Segment]],
        loss: Loss,
        optimizer: MakeOptimizer,
        penalty: Penalty | None,
    ) -> dict[int, Worker]:
        """Its worker of each chain; where the server's segments are one copy, chains share them and an optimizer."""
        shared = self.mode != "splitfed-v1"
        found: dict[int, Worker] = {}
        made: dict[tuple[int, ...], torch.optim.Optimizer] = {}
        for chain, own in enumerate(chains):
            placement = self.placed(chain)
            if agent not in placement.agents:
                continue
            mixed = [
                chains[0][segment.index] if shared and self.placement.on[segment.index] != CLIENT else segment
                for segment in own
            ]
            worker = Worker(agent, self.network, mixed, placement, loss, None, chain=chain, penalty=penalty)
            parameters = [
                value for segment in worker.own for value in segment.parameters() if value.requires_grad
            ]
            key = tuple(map(id, parameters))
            if parameters and key not in made:
                made[key] = optimizer(parameters)
            worker.optimizer = made.get(key)
            found[chain] = worker
        return found
