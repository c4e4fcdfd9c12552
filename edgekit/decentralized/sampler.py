"""Mini-batches of agents: which of its samples an agent takes in its draw number k, in any process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.keys import key
from edgekit.errors import BadInput

_GOLDEN, _FIRST, _SECOND = (
    np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


class Sampler:
    """Each agent goes through its own samples in an order that is drawn anew each epoch from (seed, agent, epoch).

    shares {agent: indices into the data}; batch: samples a draw. What is left of an epoch after its last whole batch
    is left out of that epoch. Raises BadInput for an agent with fewer samples than a batch.
    """

    def __init__(self, shares: Mapping[int, Ints], batch: int, seed: int) -> None:
        self.batch, self.seed = batch, np.uint64(key(seed, "epoch"))
        for agent, share in shares.items():
            if len(share) < batch:
                raise BadInput(
                    f"batch: agent {agent} has {len(share)} samples, fewer than a batch of {batch}. Lower batch, use "
                    "fewer agents, or give the partition a min_size."
                )
        self._row = {agent: row for row, agent in enumerate(shares)}
        self._agents = np.array(list(shares), np.int64)
        self._lengths = np.array([len(share) for share in shares.values()], np.int64)
        longest = int(self._lengths.max(initial=0))
        self._shares = np.zeros((len(shares), longest), np.int64)
        for row, share in enumerate(shares.values()):
            self._shares[row, : len(share)] = share
        self._order = np.empty_like(self._shares)
        self._epoch = np.full(len(shares), -1, np.int64)

    def indices(self, agents: Sequence[int], draws: Sequence[int]) -> Ints:
        """The samples [E, batch] of one draw of each of some agents."""
        rows = np.array([self._row[agent] for agent in agents], np.int64)
        epochs, places = np.divmod(np.asarray(draws, np.int64), self._lengths[rows] // self.batch)
        new = epochs != self._epoch[rows]
        if new.any():
            if len(np.unique(rows[new])) < len(np.unique(np.stack([rows[new], epochs[new]]), axis=1).T):
                pairs = zip(agents, draws, strict=True)  # one agent in two epochs: one order at a time
                return np.concatenate([self.indices([agent], [draw]) for agent, draw in pairs])
            self._reorder(rows[new], epochs[new])
        where = places[:, None] * self.batch + np.arange(self.batch)
        return self._order[rows[:, None], where]

    def samples(self, agent: int) -> int:
        """How many samples an agent has."""
        return int(self._lengths[self._row[agent]])

    def epochs(self, agent: int, draws: int) -> float:
        """How often an agent has gone through its data after so many draws."""
        return draws / (int(self._lengths[self._row[agent]]) // self.batch)

    def _reorder(self, rows: Ints, epochs: Ints) -> None:
        """Sort each share by keys that are a hash of (seed, agent, epoch, position)."""
        base = mixed(mixed(self.seed + self._agents[rows].astype(np.uint64)) + epochs.astype(np.uint64))
        keys = mixed(base[:, None] + np.arange(self._shares.shape[1], dtype=np.uint64) * _GOLDEN)
        keys[np.arange(keys.shape[1]) >= self._lengths[rows, None]] = np.iinfo(np.uint64).max
        self._order[rows] = np.take_along_axis(self._shares[rows], np.argsort(keys, 1, kind="stable"), 1)
        self._epoch[rows] = epochs


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea and Flood, 2014): 64 bits that look drawn, from 64 that need not."""
    with np.errstate(over="ignore"):
        values = (values + _GOLDEN) ^ ((values + _GOLDEN) >> np.uint64(30))
        values = values * _FIRST
        values = (values ^ (values >> np.uint64(27))) * _SECOND
        return values ^ (values >> np.uint64(31))
