"""A topology of the user's own: a matrix or a list of edges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.roster import Floats, Roster
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Custom(Topology):
    """Your own `matrix` W (row i: what i weighs of each agent), or your own `edges`, which work both ways.

    Each is nested lists, or the path of a CSV or .npy file. W is square, not negative beside the diagonal, and its
    rows or its columns sum to 1. Edges are pairs of agents 0 .. n - 1.
    """

    matrix: Path | tuple[tuple[float, ...], ...] | None = None
    edges: Path | tuple[tuple[int, int], ...] | None = None

    name: ClassVar[str] = "custom"
    source: ClassVar[str] = "own"

    def __post_init__(self) -> None:
        if (self.matrix is None) == (self.edges is None):
            raise BadInput("custom: give either matrix or edges: a CSV or .npy file, or nested lists.")

    @property
    def directed(self) -> bool:  # type: ignore[override]
        """Whether a link of the matrix works one way only."""
        return self.matrix is not None and not self._own().graph.symmetric

    @property
    def rule(self) -> str:  # type: ignore[override]
        """The rule whose promise the matrix keeps."""
        if self.matrix is None:
            return "metropolis"
        own = self._own()
        if own.row_stochastic:
            return "metropolis" if own.column_stochastic and own.symmetric else "uniform"
        return "column-stochastic"

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """The edges, or who has weight beside the diagonal of the matrix."""
        if self.edges is not None:
            return self._from_edges(len(roster))
        own = self._own()
        _agree(own.size, len(roster), "matrix")
        return own.graph

    def mixing(self, roster: Roster, round: int, seed: int, rule: str | None = None) -> Mixing:
        """The matrix itself, unless another rule is named."""
        if self.matrix is None:
            return super().mixing(roster, round, seed, rule)
        own = self._own()
        _agree(own.size, len(roster), "matrix")
        # algorithms for directed graphs ask for this rule by themselves, and the matrix may be what they need
        if rule is None or (rule == "column-stochastic" and own.column_stochastic):
            return own
        return super().mixing(roster, round, seed, rule)

    def _own(self) -> Mixing:
        matrix = _array(self.matrix, "matrix")
        _check(matrix)
        return Mixing.dense(matrix)

    def _from_edges(self, size: int) -> Graph:
        edges = _array(self.edges, "edges")
        if edges.ndim != 2 or edges.shape[1] != 2:
            raise BadInput(
                "topology: custom edges are pairs of agents, one a line. Write them as [[0, 1], [1, 2]]."
            )
        wrong = (edges != np.floor(edges)) | (edges < 0) | (edges >= size)
        if wrong.any():
            raise BadInput(
                f"topology: custom edges name the agent {edges[wrong][0]:g}, but {size} agents are numbered 0 to "
                f"{size - 1}. Change the edges, or the number of agents."
            )
        return Graph.undirected(size, edges.astype(np.int64))


def _array(value: Any, what: str) -> Floats:
    """Nested lists or a file as an array; BadInput says what is wrong with it."""
    try:
        made = _load(value) if isinstance(value, Path) else np.array(value, float)
    except (ValueError, TypeError, EOFError) as error:
        place = f"'{value}'" if isinstance(value, Path) else what
        raise BadInput(
            f"topology: custom {place} is no table of numbers ({error}). Write numbers, the same count in every row."
        ) from error
    return made.reshape(0, 2) if what == "edges" and not made.size else made


def _load(path: Path) -> Floats:
    if not path.is_file():
        raise BadInput(f"topology: custom finds no file '{path}' (looked in {Path.cwd()}). Check the path.")
    if path.suffix == ".npy":
        with path.open("rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False), float)
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.zeros((0, 0))


def _check(matrix: Floats) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise BadInput(
            f"topology: the custom matrix has the shape {list(matrix.shape)}. Give n rows of n numbers."
        )
    if not np.isfinite(matrix).all():
        raise BadInput("topology: the custom matrix holds NaN or infinity. Give finite weights.")
    negative = np.argwhere((matrix < 0) & ~np.eye(len(matrix), dtype=bool)).tolist()
    if negative:
        row, column = negative[0]
        raise BadInput(
            f"topology: the custom matrix has {matrix[row, column]:g} in row {row}, column {column}. Give weights of 0 "
            "or more beside the diagonal."
        )
    own = Mixing.dense(matrix)
    if not (own.row_stochastic or own.column_stochastic):
        row = int(np.argmax(np.abs(own.row_sums - 1)))
        raise BadInput(
            f"topology: neither the rows nor the columns of the custom matrix sum to 1 (row {row}: "
            f"{own.row_sums[row]:.6g}). Divide each row by its sum."
        )


def _agree(size: int, agents: int, what: str) -> None:
    if size != agents:
        raise BadInput(
            f"topology: the custom {what} is for {size} agents, but there are {agents}. Change agents, or the {what}."
        )
