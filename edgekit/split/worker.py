"""One agent's part of a training step, as a generator of what it sends and waits for.

Every agent computes its segments in the same order: forward by segment and micro-batch, then the loss, then backward by
segment from the last, and micro-batch. What a task needs was made by an earlier one in that order, so nobody waits for
who waits for it; gradients add up in the same order as in one process.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch

from edgekit.split.message import LOSS, Key, Receive, Send, Steps
from edgekit.split.network import Network
from edgekit.split.placement import DATA, Placement, silent
from edgekit.split.segment import Segment

Tensors = dict[str, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Penalty = Callable[[Tensors, Tensors], torch.Tensor]
Seen = Callable[[Tensors, Tensors], None]


class Worker:
    """The agent `me` of one chain (one holder of data) of a split network.

    segments: all of them; only its own are computed here. optimizer: of its own parameters. penalty(inputs, outputs):
    what is added to the loss of a segment that takes the data, for their privacy; seen(inputs, outputs): hears of a
    test what such a segment sends.
    """

    def __init__(
        self,
        me: str,
        network: Network,
        segments: Sequence[Segment],
        placement: Placement,
        loss: Loss,
        optimizer: torch.optim.Optimizer | None,
        *,
        chain: int = 0,
        penalty: Penalty | None = None,
        seen: Seen = lambda inputs, outputs: None,
    ) -> None:
        self.me, self.network, self.segments, self.placement = me, network, list(segments), placement
        self.loss, self.optimizer, self.chain, self.penalty = loss, optimizer, chain, penalty
        self.seen = seen
        self.own = [segment for segment in self.segments if placement.on[segment.index] == me]

    def step(self, sizes: Sequence[int], inputs: Sequence[Tensors], targets: Sequence[torch.Tensor]) -> Steps:
        """One step of the optimizer on micro-batches of these sizes; the mean loss where it is computed, else None.

        inputs: of each micro-batch, those that this agent holds; targets: where it holds the labels.
        """
        run = _Run(self, sizes)
        yield from run.share_data(inputs)
        for segment in self.own:
            for micro in range(len(sizes)):
                yield from run.forward(segment, micro, inputs)
        total = yield from run.losses(targets)
        yield from run.keep_step(silent(self.network, self.placement))
        for segment in reversed(self.own):
            for micro in range(len(sizes)):
                yield from run.backward(segment, micro)
        if self.optimizer is not None:
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return total

    def test(self, sizes: Sequence[int], inputs: Sequence[Tensors], targets: Sequence[torch.Tensor]) -> Steps:
        """(outputs, targets) of test samples, piece by piece where the loss is computed, else two empty lists.

        Nothing is learned. seen(inputs, outputs): of the first piece, at each segment that takes the data.
        """
        others = [agent for agent in self.placement.agents if agent != self.placement.loss_on]
        outputs, labels = [], []
        for piece, size in enumerate(sizes):
            run = _Run(self, [size], piece=piece)
            yield from run.share_data(inputs[piece : piece + 1])
            for segment in self.own:
                yield from run.forward(segment, 0, inputs[piece : piece + 1])
            found = yield from run.result(targets[piece : piece + 1])
            if found is not None:
                outputs.append(found[0])
                labels.append(found[1])
            yield from run.keep_step(others)
        return outputs, labels


class _Run:
    """What one step holds while it lasts; piece: which piece of the test samples, None where it learns."""

    def __init__(self, worker: Worker, sizes: Sequence[int], *, piece: int | None = None) -> None:
        self.worker, self.sizes, self._piece = worker, list(sizes), piece
        self._learns = piece is None
        self.values: dict[tuple[str, int], torch.Tensor] = {}  # made here or received, detached
        self._leaves: dict[tuple[int, int], Tensors] = {}
        self._made: dict[tuple[int, int], Tensors] = {}
        self._gradients: dict[
            tuple[str, int, int], torch.Tensor
        ] = {}  # by (value, consumer, micro), used here
        self._penalties: dict[tuple[int, int], torch.Tensor] = {}

    def share_data(self, inputs: Sequence[Tensors]) -> Steps:
        """Send inputs to segments elsewhere, where the placement permits it."""
        worker, placement = self.worker, self.worker.placement
        for name in worker.network.inputs:
            if placement.holder(worker.network, name) != worker.me:
                continue
            using = [segment.index for segment in worker.segments if name in segment.takes]
            others = dict.fromkeys(placement.on[index] for index in using if placement.on[index] != worker.me)
            for micro, tensors in enumerate(inputs):
                for agent in others:
                    yield Send(agent, self._key("value", name, micro), tensors[name])

    def forward(self, segment: Segment, micro: int, inputs: Sequence[Tensors]) -> Steps:
        """Compute a segment, and send what others need of it."""
        worker, placement = self.worker, self.worker.placement
        leaves: Tensors = {}
        for name in segment.takes:
            source = segment.ports.sources[name]
            value = yield from self._input(name, source, micro, inputs)
            leaf = value.detach()
            leaves[name] = leaf.requires_grad_(self._learns and source != DATA and leaf.is_floating_point())
        made = self._computed(segment, micro, leaves)
        for name, value in made.items():
            self.values[name, micro] = value.detach()
            agents = [placement.on[user] for user in segment.ports.users[name]]
            if name == worker.network.output:
                agents.append(placement.loss_on)
            for agent in dict.fromkeys(agents):
                if agent != worker.me:
                    yield Send(agent, self._key("value", name, micro), value.detach())

    def _computed(self, segment: Segment, micro: int, leaves: Tensors) -> Tensors:
        """What a segment makes; of a test, as it would be deployed."""
        worker = self.worker
        data = {name: leaf for name, leaf in leaves.items() if segment.ports.sources[name] == DATA}
        if not self._learns:
            segment.eval()
            with torch.no_grad():
                made: Tensors = segment(leaves)
            segment.train()
            if self._piece == 0 and data:
                worker.seen(data, {name: made[name] for name, users in segment.ports.users.items() if users})
            return made
        made = segment(leaves)
        self._leaves[segment.index, micro], self._made[segment.index, micro] = leaves, made
        if worker.penalty is not None and data:
            self._penalties[segment.index, micro] = worker.penalty(data, made) * self._share(micro)
        return made

    def result(self, targets: Sequence[torch.Tensor]) -> Steps:
        """(output, target) of a test's piece where the loss is computed, else None."""
        worker, placement = self.worker, self.worker.placement
        yield from self._share_labels(targets)
        if placement.loss_on != worker.me:
            return None
        output = yield from self._value(worker.network.output, placement.on[-1], 0)
        target = targets[0] if placement.labels == worker.me else (yield from self._labels(0))
        return output, target

    def keep_step(self, agents: Sequence[str]) -> Steps:
        """Agents that would hear nothing, and run ahead, wait until the loss is computed."""
        worker, key = self.worker, self._key("done", "done", 0)
        if worker.me == worker.placement.loss_on:
            for agent in agents:
                yield Send(agent, key, torch.ones(1, dtype=torch.uint8))
        elif worker.me in agents:
            yield Receive(worker.placement.loss_on, key, (1,), torch.uint8)

    def losses(self, targets: Sequence[torch.Tensor]) -> Steps:
        """The loss of every micro-batch, where it is computed; its gradient goes to the last segment."""
        worker, placement, output = self.worker, self.worker.placement, self.worker.network.output
        last, here = placement.on[-1], placement.loss_on
        yield from self._share_labels(targets)
        if here != worker.me:
            return None
        total = 0.0
        for micro in range(len(self.sizes)):
            value = yield from self._value(output, last, micro)
            target = targets[micro] if placement.labels == worker.me else (yield from self._labels(micro))
            leaf = value.detach().requires_grad_()
            loss = worker.loss(leaf, target) * self._share(micro)
            loss.backward()
            total += float(loss.detach())
            yield from self._give_back(output, LOSS, micro, last, leaf.grad)
        return total

    def backward(self, segment: Segment, micro: int) -> Steps:
        """The gradients of a segment's parameters, and those of what it took, back to who made it."""
        placement = self.worker.placement
        made, leaves = self._made.pop((segment.index, micro)), self._leaves.pop((segment.index, micro))
        roots, gradients = [], []
        for name, value in made.items():
            total = yield from self._total(segment, name, micro)
            if total is not None and value.requires_grad:
                roots.append(value)
                gradients.append(total)
        penalty = self._penalties.pop((segment.index, micro), None)
        if penalty is not None and penalty.requires_grad:
            roots.append(penalty)
            gradients.append(torch.ones_like(penalty))
        if roots:
            torch.autograd.backward(roots, gradients)
        for name, leaf in leaves.items():
            source = segment.ports.sources[name]
            if leaf.requires_grad:
                gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
                yield from self._give_back(name, segment.index, micro, placement.on[source], gradient)

    def _total(self, segment: Segment, name: str, micro: int) -> Steps:
        """The sum of the gradients of a value from all who used it, the latest first, as autograd adds them."""
        worker, placement = self.worker, self.worker.placement
        consumers = [(user, placement.on[user]) for user in segment.ports.users[name]][::-1]
        if name == worker.network.output:
            consumers.insert(0, (LOSS, placement.loss_on))
        total: torch.Tensor | None = None
        for consumer, agent in consumers:
            made = self.values[name, micro]
            if not made.is_floating_point():
                continue
            if agent == worker.me:
                gradient = self._gradients.pop((name, consumer, micro))
            else:
                key = self._key("gradient", name, micro, consumer)
                gradient = yield Receive(agent, key, tuple(made.shape), made.dtype)
            total = gradient if total is None else total + gradient
        return total

    def _give_back(
        self, name: str, consumer: int, micro: int, agent: str, gradient: torch.Tensor | None
    ) -> Steps:
        if gradient is None:
            return
        if agent == self.worker.me:
            self._gradients[name, consumer, micro] = gradient
        else:
            yield Send(agent, self._key("gradient", name, micro, consumer), gradient)

    def _input(self, name: str, source: int, micro: int, inputs: Sequence[Tensors]) -> Steps:
        worker = self.worker
        if source != DATA:
            return (yield from self._value(name, worker.placement.on[source], micro))
        owner = worker.placement.holder(worker.network, name)
        if owner == worker.me:
            return inputs[micro][name]
        return (yield from self._value(name, owner, micro))

    def _value(self, name: str, agent: str, micro: int) -> Steps:
        """A value that is here, or comes; it comes once, however many segments use it."""
        if (name, micro) not in self.values:
            value = self.worker.network.values[name]
            shape = (self.sizes[micro], *value.shape)
            self.values[name, micro] = yield Receive(
                agent, self._key("value", name, micro), shape, value.dtype
            )
        return self.values[name, micro]

    def _labels(self, micro: int) -> Steps:
        key = self._key("labels", "labels", micro)
        return (yield Receive(self.worker.placement.labels, key, (self.sizes[micro],), torch.int64))

    def _share_labels(self, targets: Sequence[torch.Tensor]) -> Steps:
        placement = self.worker.placement
        if self.worker.me == placement.labels and placement.loss_on != self.worker.me:
            for micro, target in enumerate(targets):
                yield Send(placement.loss_on, self._key("labels", "labels", micro), target)

    def _share(self, micro: int) -> float:
        return self.sizes[micro] / sum(self.sizes)

    def _key(self, what: str, name: str, micro: int, consumer: int = -1) -> Key:
        piece = micro if self._piece is None else self._piece
        return Key(what, name, piece, consumer, self.worker.chain, not self._learns)  # type: ignore[arg-type]


def parts(batch: int, micro_batches: int) -> list[int]:
    """A batch in micro-batches of nearly equal size."""
    cuts = [batch * index // micro_batches for index in range(micro_batches + 1)]
    return [stop - start for start, stop in itertools.pairwise(cuts) if stop > start]
