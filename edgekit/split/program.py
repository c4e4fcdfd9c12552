"""What one agent does from the first step to the last: its chains in turn, and the averages in between.

A chain is one holder of data and the segments that its samples pass. Several clients train one network: one after the
other (`sequential`: the client's segments are handed on), side by side with a copy of the server's segments each, all
averaged (`splitfed-v1`), or with one copy that every client's batch changes (`splitfed-v2`); Thapa et al., 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from edgekit.decentralized.snapshot import Snapshot
from edgekit.split.message import Done, Key, Receive, Send, Steps
from edgekit.split.worker import Tensors, Worker, parts

Mode = Literal["sequential", "splitfed-v1", "splitfed-v2"]
Batches = Callable[[int, int], tuple[list[Tensors], list[torch.Tensor]]]


@dataclass(frozen=True)
class Rhythm:
    """steps in all; batch: samples a step and chain, in micro_batches; every: steps between two averages or turns."""

    steps: int
    batch: int
    micro_batches: int = 1
    every: int = 1


@dataclass(frozen=True)
class Test:
    """What a network is tested on every so many steps, and before the first and after the last.

    sizes: of the pieces; held(chain): the inputs and targets that this agent holds, by piece; score(outputs, targets):
    figures by name, where the loss is computed; told(inputs, outputs): figures of what a holder of data sends.
    """

    every: int
    sizes: Sequence[int]
    held: Callable[[int], tuple[list[Tensors], list[torch.Tensor]]]
    score: Callable[[torch.Tensor, torch.Tensor], Mapping[str, Any]]
    told: Callable[[Tensors, Tensors], Mapping[str, Any]] = lambda inputs, outputs: {}

    def due(self, step: int, last: int) -> bool:
        """Whether there is one after so many steps."""
        return step % self.every == 0 or step == last


class Program:
    """One agent's program.

    workers {chain: its worker}, of all chains that the agent takes part in; clients: the agent that holds the data of
    each chain; averager: who averages the clients' segments, None where nobody does; batches(chain, step): the inputs
    and targets of this agent, by micro-batch; row: length and dtype of
    a client's segments as one row; step: how many are done.
    """

    def __init__(
        self,
        me: str,
        workers: Mapping[int, Worker],
        clients: Sequence[str],
        mode: Mode,
        rhythm: Rhythm,
        batches: Batches,
        *,
        averager: str | None = None,
        row: tuple[int, torch.dtype] = (0, torch.float32),
        test: Test | None = None,
    ) -> None:
        self.me, self.workers, self.clients = me, dict(workers), list(clients)
        self.mode, self.rhythm, self.batches, self.averager = mode, rhythm, batches, averager
        self.test, self.row, self.step = test, row, 0

    def run(self) -> Steps:
        """All steps that are left; yields `Done` after each, and after a test before the first."""
        if self.test is not None and self.step == 0:
            yield Done(0, None, (yield from self._test(self.test)))
        while self.step < self.rhythm.steps:
            loss, score = (yield from self._step(self.step)), None
            self.step += 1
            if self.test is not None and self.test.due(self.step, self.rhythm.steps):
                score = yield from self._test(self.test)
            yield Done(self.step, loss, score)

    def snapshot(self, into: Snapshot) -> None:
        """Put all that decides the steps to come: segments, optimizers, random state."""
        facts: dict[str, Any] = {}
        for chain, worker in self.workers.items():
            for segment in worker.own:
                into.put(f"{chain}/segment/{segment.index}", segment.state_dict())
            if worker.optimizer is not None:
                state = worker.optimizer.state_dict()
                tensors, facts[str(chain)] = _taken_apart(state)
                into.put(f"{chain}/optimizer", tensors)
        into.put("random", {"torch": torch.get_rng_state()})
        into.facts |= {"step": self.step, "optimizers": facts}

    def restore(self, found: Snapshot) -> None:
        """Go on from what `snapshot` put."""
        for chain, worker in self.workers.items():
            for segment in worker.own:
                segment.load_state_dict(found.take(f"{chain}/segment/{segment.index}"))
                segment.zero_grad(set_to_none=True)
            if worker.optimizer is not None:
                tensors, facts = found.take(f"{chain}/optimizer"), found.facts["optimizers"][str(chain)]
                worker.optimizer.load_state_dict(_put_together(tensors, facts))
        torch.set_rng_state(found.take("random")["torch"])
        self.step = int(found.facts["step"])

    def _test(self, test: Test) -> Steps:
        """What this agent knows of a test of the network as it is; of several clients', one's whose turn it was."""
        chain = self._active(max(0, self.step - 1))[0]
        worker = self.workers.get(chain)
        if worker is None:
            return None
        found: dict[str, Any] = {}
        worker.seen = lambda inputs, outputs: found.update(test.told(inputs, outputs))
        outputs, targets = yield from worker.test(test.sizes, *test.held(chain))
        if outputs:
            found |= test.score(torch.cat(outputs), torch.cat(targets))
        return found or None

    def _step(self, step: int) -> Steps:
        sizes = parts(self.rhythm.batch, self.rhythm.micro_batches)
        losses = []
        for chain in self._active(step):
            if chain in self.workers:
                inputs, targets = self.batches(chain, step)
                losses.append((yield from self.workers[chain].step(sizes, inputs, targets)))
        if (step + 1) % self.rhythm.every == 0 and len(self.clients) > 1:
            if self.mode == "sequential":
                yield from self._hand_on(step)
            else:
                yield from self._average()
        known = [loss for loss in losses if loss is not None]
        return sum(known) / len(known) if known else None

    def _active(self, step: int) -> list[int]:
        if self.mode == "sequential":
            return [step // self.rhythm.every % len(self.clients)]
        return list(range(len(self.clients)))

    def _hand_on(self, step: int) -> Steps:
        """The client whose turn is over gives its segments to the next."""
        turn = step // self.rhythm.every
        now, after = turn % len(self.clients), (turn + 1) % len(self.clients)
        giver, taker = self.clients[now], self.clients[after]
        key = Key("weights", "turn", chain=after)
        if self.me == giver:
            yield Send(taker, key, flat(self._modules(now)))
        if self.me == taker:
            mine = self._modules(after)
            row = flat(mine)
            load(mine, (yield Receive(giver, key, tuple(row.shape), row.dtype)))

    def _average(self) -> Steps:
        """The clients' segments become their mean, at the averager; so do the server's copies in version 1."""
        if self.mode == "splitfed-v1":
            self._average_copies()
        own = [chain for chain, client in enumerate(self.clients) if client == self.me]
        collects = self.me == self._averager
        for chain in () if collects else own:
            key = Key("weights", "mine", chain=chain)
            yield Send(self._averager, key, flat(self._modules(chain)))
        mean = (yield from self._collect()) if collects else None
        for chain in own:
            mine = self._modules(chain)
            if mean is None:
                row, key = flat(mine), Key("weights", "mean", chain=chain)
                load(mine, (yield Receive(self._averager, key, tuple(row.shape), row.dtype)))
            else:
                load(mine, mean)

    def _collect(self) -> Steps:
        """The mean of all clients' rows, in their order; sent to the others, and returned."""
        (size, dtype), rows = self.row, []
        for chain, client in enumerate(self.clients):
            if client == self.me:
                rows.append(flat(self._modules(chain)))
            else:
                rows.append((yield Receive(client, Key("weights", "mine", chain=chain), (size,), dtype)))
        mean = torch.stack(rows).mean(0)
        for chain, client in enumerate(self.clients):
            if client != self.me:
                yield Send(client, Key("weights", "mean", chain=chain), mean)
        return mean

    def _average_copies(self) -> None:
        """Segments of different chains that this agent holds beside its own data become their mean."""
        held = [self._modules(chain) for chain in self.workers if self.clients[chain] != self.me]
        if len(held) < 2:
            return
        mean = torch.stack([flat(modules) for modules in held]).mean(0)
        for modules in held:
            load(modules, mean)

    @property
    def _averager(self) -> str:
        return self.averager or self.clients[0]

    def _modules(self, chain: int) -> list[nn.Module]:
        """The segments of a chain that this agent holds."""
        return list(self.workers[chain].own)


def _taken_apart(state: Mapping[str, Any]) -> tuple[Tensors, dict[str, Any]]:
    """(tensors of an optimizer's state by parameter and name, the rest as plain JSON)."""
    tensors: Tensors = {}
    plain: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            kept = tensors if isinstance(value, torch.Tensor) else plain
            kept[f"{index}/{name}"] = value
    return tensors, {"groups": state["param_groups"], "plain": plain}


def _put_together(tensors: Tensors, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `_taken_apart`."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **facts["plain"]}.items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = value
    return {"state": state, "param_groups": facts["groups"]}


def flat(modules: Sequence[nn.Module]) -> torch.Tensor:
    """Parameters and floating-point buffers as one row, in the dtype that holds them all."""
    found = [tensor.detach().reshape(-1) for module in modules for tensor in _floats(module)]
    return torch.cat(found) if found else torch.zeros(0)


def load(modules: Sequence[nn.Module], row: torch.Tensor) -> None:
    """The inverse of `flat`."""
    start = 0
    with torch.no_grad():
        for module in modules:
            for tensor in _floats(module):
                stop = start + tensor.numel()
                tensor.copy_(row[start:stop].reshape(tensor.shape).to(tensor))
                start = stop


def _floats(module: nn.Module) -> list[torch.Tensor]:
    tensors = [*module.parameters(), *module.buffers()]
    return [tensor for tensor in tensors if tensor.is_floating_point()]
