"""The mixing matrix W of a graph: who weighs how much in whose average, and what follows from it.

W[i, j] > 0 only where j sends to i, or i = j. Rows that sum to 1 average; columns that sum to 1 keep the sum over
agents, so that the mean of the models is untouched by mixing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgekit.decentralized.graph import Graph, Ints
from edgekit.decentralized.roster import Floats
from edgekit.errors import BadInput, did_you_mean

TOLERANCE = 1e-9
SPECTRUM_LIMIT = 4000  # agents; beyond it the dense eigenvalues of W would take minutes


@dataclass(frozen=True)
class Mixing:
    """W by rows: row i has `weights[start[i]:start[i + 1]]` on the agents `sources[...]`, ascending, itself among them.

    The order is part of the result: every engine adds the terms of a row in it, so their sums are the same bits.
    """

    size: int
    start: Ints
    sources: Ints
    weights: Floats

    @classmethod
    def dense(cls, matrix: Floats) -> Mixing:
        """From a full matrix [n, n]; a diagonal entry is kept where it is 0."""
        keep = (matrix != 0) | np.eye(len(matrix), dtype=bool)
        rows, sources = np.nonzero(keep)
        start = np.concatenate([[0], np.cumsum(keep.sum(1))]).astype(np.int64)
        return cls(len(matrix), start, sources.astype(np.int64), matrix[rows, sources].astype(np.float64))

    @classmethod
    def on(cls, graph: Graph, weights: Floats, diagonal: Floats) -> Mixing:
        """From a weight for each arc of a graph, in its order, and one for each agent itself."""
        size = graph.size
        target = np.concatenate([graph.target, np.arange(size)])
        source = np.concatenate([graph.source, np.arange(size)])
        order = np.lexsort((source, target))
        start = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=size))]).astype(np.int64)
        return cls(size, start, source[order], np.concatenate([weights, diagonal])[order])

    def row(self, agent: int) -> tuple[Ints, Floats]:
        """(sources, weights) of an agent's average."""
        part = slice(self.start[agent], self.start[agent + 1])
        return self.sources[part], self.weights[part]

    def weight(self, target: int, source: int) -> float:
        """W[target, source]."""
        sources, weights = self.row(target)
        return float(weights[sources == source].sum())

    @cached_property
    def targets(self) -> Ints:
        """The row of every entry."""
        return np.repeat(np.arange(self.size), np.diff(self.start))

    @cached_property
    def graph(self) -> Graph:
        """Who sends to whom."""
        off = self.sources != self.targets
        return Graph(self.size, self.sources[off], self.targets[off])

    def matrix(self) -> Floats:
        """W as a full array [n, n]."""
        full = np.zeros((self.size, self.size))
        full[self.targets, self.sources] = self.weights
        return full

    @cached_property
    def row_sums(self) -> Floats:
        """Of each row [n]."""
        return np.bincount(self.targets, self.weights, self.size).astype(np.float64)

    @cached_property
    def column_sums(self) -> Floats:
        """Of each column [n]."""
        return np.bincount(self.sources, self.weights, self.size).astype(np.float64)

    @property
    def row_stochastic(self) -> bool:
        """Whether every average is one."""
        return bool(np.allclose(self.row_sums, 1.0, atol=TOLERANCE, rtol=0))

    @property
    def column_stochastic(self) -> bool:
        """Whether mixing keeps the sum over agents."""
        return bool(np.allclose(self.column_sums, 1.0, atol=TOLERANCE, rtol=0))

    @property
    def symmetric(self) -> bool:
        """W = W^T."""
        order = np.lexsort((self.targets, self.sources))
        mirrored = self.graph.symmetric
        return mirrored and bool(np.allclose(self.weights[order], self.weights, atol=TOLERANCE, rtol=0))

    def without(self, arcs_lost: Callable[[Ints, Ints], np.ndarray], *, keep_columns: bool = False) -> Mixing:
        """W after some arcs carried nothing: `arcs_lost(sources, targets)` is true for those.

        Their weight goes back to the diagonal, of the receiver's row (the average stays one) or, with
        `keep_columns`, of the sender's column (the sum stays, as push-sum needs it).
        """
        lost = arcs_lost(self.sources, self.targets) & (self.sources != self.targets)
        if not lost.any():
            return self
        weights = np.where(lost, 0.0, self.weights)
        back = np.bincount(
            (self.sources if keep_columns else self.targets)[lost], self.weights[lost], self.size
        )
        own = self.sources == self.targets
        weights[own] += back[self.targets[own]]
        kept = ~lost
        start = np.concatenate([[0], np.cumsum(np.bincount(self.targets[kept], minlength=self.size))])
        return Mixing(self.size, start.astype(np.int64), self.sources[kept], weights[kept])

    @cached_property
    def eigenvalues(self) -> Floats:
        """Of a symmetric W, ascending [n]."""
        self._refuse_large()
        return np.linalg.eigvalsh(self.matrix())

    @cached_property
    def second(self) -> float:
        """||W - J||_2, J = 1/n everywhere: what one round leaves of the distance to the mean, at worst.

        For a symmetric W it is the second largest |eigenvalue|.
        """
        return contraction([self])

    def _refuse_large(self) -> None:
        if self.size > SPECTRUM_LIMIT:
            raise BadInput(
                f"mixing: the eigenvalues of {self.size} agents take too long. Ask for at most {SPECTRUM_LIMIT}."
            )


def contraction(mixings: Sequence[Mixing]) -> float:
    """||W_T ... W_2 W_1 - J||_2 of the rounds of a period."""
    mixings[0]._refuse_large()
    if len(mixings) == 1 and mixings[0].symmetric and mixings[0].row_stochastic:
        values = mixings[0].eigenvalues
        return float(max(abs(values[0]), abs(values[-2]))) if len(values) > 1 else 0.0
    product = np.eye(mixings[0].size)
    for mixing in mixings:
        product = mixing.matrix() @ product
    return float(np.linalg.norm(product - 1.0 / mixings[0].size, 2))


def rounds_to_consensus(mixings: Sequence[Mixing], *, left: float = 1e-6) -> int | None:
    """Rounds until at most `left` of the distance to the mean is left; None where mixing never gets there.

    It never does under a W that is not doubly stochastic: what it settles on is not the mean.
    """
    if not all(mixing.row_stochastic and mixing.column_stochastic for mixing in mixings):
        return None
    factor = contraction(mixings)
    if factor >= 1 - 1e-12:
        return None
    if factor <= left:
        return _first_below(mixings, left)
    return math.ceil(math.log(left) / math.log(factor) * len(mixings))


def _first_below(mixings: Sequence[Mixing], left: float) -> int:
    """Rounds of a period until the product of their matrices is as near to the mean of all as asked."""
    product = np.eye(mixings[0].size)
    for count, mixing in enumerate(mixings, 1):
        product = mixing.matrix() @ product
        if np.linalg.norm(product - product.mean(0)) <= left:
            return count
    return len(mixings)


def metropolis(graph: Graph) -> Mixing:
    """w_ij = 1 / (1 + max(degree_i, degree_j)), w_ii the rest: symmetric, doubly stochastic.

    Xiao and Boyd, 2004.
    """
    _undirected(graph, "metropolis")
    degrees = graph.degrees
    weights = 1.0 / (1.0 + np.maximum(degrees[graph.source], degrees[graph.target]))
    return Mixing.on(graph, weights, 1.0 - np.bincount(graph.target, weights, graph.size))


def max_degree(graph: Graph) -> Mixing:
    """w_ij = 1 / (1 + largest degree), w_ii the rest: symmetric, doubly stochastic."""
    _undirected(graph, "max-degree")
    share = 1.0 / (1.0 + (int(graph.degrees.max()) if graph.size and graph.arcs else 0))
    return Mixing.on(graph, np.full(graph.arcs, share), 1.0 - share * graph.degrees)


def uniform(graph: Graph) -> Mixing:
    """w_ij = 1 / (1 + in-degree_i): every row an equal average; doubly stochastic on regular graphs only."""
    share = 1.0 / (1.0 + graph.degrees)
    return Mixing.on(graph, share[graph.target], share)


def column_stochastic(graph: Graph) -> Mixing:
    """w_ij = 1 / (1 + out-degree_j): every agent divides its mass among its receivers and itself (push-sum)."""
    share = 1.0 / (1.0 + graph.out_degrees)
    return Mixing.on(graph, share[graph.source], share)


RULES: dict[str, Callable[[Graph], Mixing]] = {
    "metropolis": metropolis,
    "max-degree": max_degree,
    "uniform": uniform,
    "column-stochastic": column_stochastic,
}


def rule(name: str) -> Callable[[Graph], Mixing]:
    """A rule of mixing weights by name."""
    if name not in RULES:
        raise BadInput(f"weights: there is no rule '{name}'. {did_you_mean(name, RULES)}")
    return RULES[name]


def _undirected(graph: Graph, name: str) -> None:
    if not graph.symmetric:
        raise BadInput(
            f"weights: {name} needs every link to work both ways, but this graph is directed. Choose uniform "
            "or column-stochastic."
        )
