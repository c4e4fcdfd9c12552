"""A communication graph: who sends to whom in a round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Graph:
    """`size` agents and the arcs between them, without loops, sorted by (target, source).

    An undirected edge is two arcs.

    >>> ring = Graph.undirected(4, [(0, 1), (1, 2), (2, 3), (3, 0)])
    >>> ring.edges, ring.degrees.tolist()
    (4, [2, 2, 2, 2])
    """

    size: int
    source: Ints
    target: Ints

    @classmethod
    def directed(cls, size: int, arcs: Iterable[tuple[int, int]] | Ints) -> Graph:
        """From (source, target) pairs, or an array [arcs, 2] of them; repeated ones and loops are dropped."""
        pairs = _pairs(arcs)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        codes = np.unique(pairs[:, 1] * max(size, 1) + pairs[:, 0])
        return cls(size, codes % max(size, 1), codes // max(size, 1))

    @classmethod
    def undirected(cls, size: int, edges: Iterable[tuple[int, int]] | Ints) -> Graph:
        """From unordered pairs, or an array [edges, 2] of them: each becomes two arcs."""
        pairs = _pairs(edges)
        return cls.directed(size, np.concatenate([pairs, pairs[:, ::-1]]))

    @property
    def arcs(self) -> int:
        """How many messages one exchange over the graph takes."""
        return len(self.source)

    @property
    def edges(self) -> int:
        """Unordered pairs that are joined, in either direction."""
        low, high = np.minimum(self.source, self.target), np.maximum(self.source, self.target)
        return len(np.unique(low * max(self.size, 1) + high))

    @cached_property
    def degrees(self) -> Ints:
        """In-degree of each agent [size], itself not counted."""
        return np.bincount(self.target, minlength=self.size).astype(np.int64)

    @cached_property
    def out_degrees(self) -> Ints:
        """Out-degree of each agent [size], itself not counted."""
        return np.bincount(self.source, minlength=self.size).astype(np.int64)

    def senders(self, agent: int) -> tuple[int, ...]:
        """Whom an agent hears, ascending."""
        if agent not in self._senders:
            self._senders[agent] = tuple(self.source[self.target == agent].tolist())
        return self._senders[agent]

    def receivers(self, agent: int) -> tuple[int, ...]:
        """Who hears an agent, ascending."""
        if agent not in self._receivers:
            self._receivers[agent] = tuple(self.target[self.source == agent].tolist())
        return self._receivers[agent]

    @cached_property
    def _senders(self) -> dict[int, tuple[int, ...]]:
        return {}

    @cached_property
    def _receivers(self) -> dict[int, tuple[int, ...]]:
        return {}

    @cached_property
    def symmetric(self) -> bool:
        """Whether every arc has its reverse."""
        forward = self.target * self.size + self.source
        return bool(np.array_equal(forward, np.sort(self.source * self.size + self.target)))

    @cached_property
    def connected(self) -> bool:
        """Whether every agent reaches every other (strongly, where the graph is directed)."""
        if self.size <= 1:
            return True
        ends = (self.source, self.target)
        return all(self._reached(*pair) == self.size for pair in (ends, ends[::-1]))

    def _reached(self, source: Ints, target: Ints) -> int:
        seen = np.zeros(self.size, bool)
        seen[0] = True
        while True:
            new = np.zeros(self.size, bool)
            new[target[seen[source]]] = True
            if not (new & ~seen).any():
                return int(seen.sum())
            seen |= new


def _pairs(pairs: Iterable[tuple[int, int]] | Ints) -> Ints:
    return np.asarray(pairs if isinstance(pairs, np.ndarray) else list(pairs), np.int64).reshape(-1, 2)


def union(graphs: Sequence[Graph]) -> Graph:
    """All arcs of several graphs."""
    arcs = [np.stack([graph.source, graph.target], axis=1) for graph in graphs]
    return Graph.directed(graphs[0].size, np.concatenate(arcs))
