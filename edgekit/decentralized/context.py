"""What an algorithm may use beside its state: gradients, the local optimizer, the round and the rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from edgekit.decentralized.buffers import Buffers
from edgekit.decentralized.layout import Layout
from edgekit.decentralized.objective import Objective
from edgekit.decentralized.optimizers import Optimizer

Rows = torch.Tensor
CHUNK_BYTES = 4 * 2**20  # rows whose gradients are taken at once: they and their gradients stay in the cache


class Context:
    """The side of the engine that algorithms see.

    ids [A]: the agents whose rows are here; size: how many there are in all; round; lr: the rate of this round;
    layout: the slices of a row; local_steps: batches between two exchanges; draws [A]: batches each agent has used;
    seed: of the run, for `keys.stream(seed, ...)`.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        ids: Sequence[int],
        size: int,
        *,
        local_steps: int = 1,
        accumulate: int = 1,
        seed: int = 0,
        buffers: Buffers | None = None,
    ) -> None:
        self.objective, self.optimizer = objective, optimizer
        self.ids, self.size = tuple(ids), size
        self.local_steps, self.accumulate = local_steps, accumulate
        self.seed, self.round, self.lr = seed, 0, optimizer.lr
        self.draws: npt.NDArray[np.int64] = np.zeros(len(self.ids), np.int64)
        self.gradients: npt.NDArray[np.int64] = np.zeros(len(self.ids), np.int64)
        self.kept: dict[str, Rows] = {}
        self.losses: list[torch.Tensor] = []
        self.buffers = buffers or Buffers()

    @property
    def layout(self) -> Layout:
        """The slices of a row."""
        return self.objective.layout

    def open(self, x: Rows) -> None:
        """Make the optimizer's memory for these rows."""
        wide = {name: torch.zeros_like(x) for name in self.optimizer.memory}
        self.kept = {**wide, **{name: x.new_zeros(len(x), 1) for name in self.optimizer.counters}}

    def gradient(self, x: Rows, on: torch.Tensor | None = None) -> Rows:
        """The gradients [E, P] of rows [E, P] on the current batch of each agent.

        `on` [E]: the row of this process whose data are used for each; the rows' own where None.
        """
        where = range(len(self.ids)) if on is None else on.tolist()
        result = self.buffers.lend(x)
        losses = self._gradient(x, list(where), result)
        if on is None:
            self.losses.append(losses)
        return result

    def weights(self, like: Rows) -> torch.Tensor:
        """How many samples each agent here has [A]."""
        return like.new_tensor([self.objective.weight(agent) for agent in self.ids])

    def step(self, x: Rows, gradient: Rows) -> Rows:
        """One step of the run's optimizer with a gradient that the algorithm made: changes x, and gives it back."""
        self.optimizer.step(x, gradient, self.lr, self.kept, self.layout)
        return x

    def local(self, x: Rows, onto: Rows | None = None) -> Rows:
        """The run's local steps from x, each on the next batch: changes x in place, and gives it back.

        With `onto` [A, P] the steps are taken from x but applied there, x is left as it is, and `onto` comes back.
        """
        if onto is not None and self.local_steps > 1:
            moved = self.buffers.lend(x).copy_(x)
            return onto.add_(self.local(moved)).sub_(x)
        for count in range(self.local_steps):
            if count:
                self.advance()
            self._descend(x, x if onto is None else onto)
        return x if onto is None else onto

    def advance(self) -> None:
        """Move every agent to its next batch; the engine does so once at the end of a round."""
        self.draws += self.accumulate

    def mean_loss(self) -> float:
        """The mean of the batches' losses since it was last asked for; NaN where there were none."""
        if not self.losses:
            return float("nan")
        losses = (
            self.losses[0] if len(self.losses) == 1 else torch.cat([loss.reshape(-1) for loss in self.losses])
        )
        self.losses.clear()
        return float(losses.mean())

    def take(self, row: int) -> Context:
        """The context of one row alone, sharing its memory and counters."""
        one = Context(
            self.objective,
            self.optimizer,
            self.ids[row : row + 1],
            self.size,
            local_steps=self.local_steps,
            accumulate=self.accumulate,
            seed=self.seed,
            buffers=self.buffers,
        )
        one.round, one.lr, one.losses = self.round, self.lr, self.losses
        one.draws, one.gradients = self.draws[row : row + 1], self.gradients[row : row + 1]
        one.kept = {name: value[row : row + 1] for name, value in self.kept.items()}
        return one

    def _gradient(self, x: Rows, where: list[int], out: Rows) -> torch.Tensor:
        """Mean gradient over the accumulated batches of each agent."""
        agents = [self.ids[row] for row in where]
        np.add.at(self.gradients, where, self.accumulate)
        losses = self.objective.gradient(x, agents, self.draws[where].tolist(), out)
        if self.accumulate == 1:
            return losses
        more = torch.empty_like(x)
        for count in range(1, self.accumulate):
            losses = losses + self.objective.gradient(x, agents, (self.draws[where] + count).tolist(), more)
            out.add_(more)
        out.div_(self.accumulate)
        return losses / self.accumulate

    def _descend(self, x: Rows, onto: Rows) -> None:
        losses = []
        for part in self._chunks(x):
            if self.optimizer.plain and self.accumulate == 1:
                agents, draws = self.ids[part], self.draws[part].tolist()
                self.gradients[part] += 1
                losses.append(self.objective.descend(x[part], onto[part], agents, draws, self.lr))
                continue
            scratch = self._scratch(x[part])
            losses.append(self._gradient(x[part], list(range(*part.indices(len(x)))), scratch))
            kept = {name: value[part] for name, value in self.kept.items()}
            self.optimizer.step(onto[part], scratch, self.lr, kept, self.layout)
        self.losses += losses

    def _scratch(self, x: Rows) -> Rows:
        known = getattr(self, "_scratch_rows", None)
        if known is None or known.shape != x.shape or known.dtype != x.dtype:
            known = self._scratch_rows = torch.empty_like(x)
        return known

    def _chunks(self, x: Rows) -> list[slice]:
        count, each = x.shape[0], max(1, CHUNK_BYTES // max(1, x.shape[1] * x.element_size()))
        return [slice(start, min(start + each, count)) for start in range(0, count, each)]
