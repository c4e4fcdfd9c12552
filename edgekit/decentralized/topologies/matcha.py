"""MATCHA: a graph whose links take turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from edgekit.decentralized.graph import Graph, Ints
from edgekit.decentralized.keys import stream
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.erdos_renyi import ErdosRenyi
from edgekit.decentralized.topologies.matchings import matchings
from edgekit.decentralized.topologies.remember import remember
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Matcha(Topology):
    """The links of a base graph in matchings, each active in a round with probability `budget`; W = I - alpha L_t.

    L_t is the Laplacian of the links that are active in round t: symmetric and doubly stochastic in every round. All
    matchings have the same probability p; then E[W^2] = I - 2 alpha p L + alpha^2 (p^2 L^2 + 2 p (1 - p) L) with the
    base's Laplacian L, and alpha is what makes its norm beside the mean smallest among those that leave W
    non-negative, alpha <= 1/(largest degree).
    """

    base: Topology = field(default_factory=ErdosRenyi)
    budget: float = 0.5

    name: ClassVar[str] = "matcha"
    source: ClassVar[str] = "Wang, Sahu, Yang, Joshi and Kar, 2019"

    def __post_init__(self) -> None:
        if not 0 < self.budget <= 1:
            raise BadInput(
                f"matcha: budget is {self.budget:g}. Give the part of the links, above 0 and up to 1."
            )

    @property
    def facts(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the base needs."""
        return self.base.facts

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """The links of the matchings that are active."""
        plan = _plan(self, roster, seed)
        active = stream(seed, self.name, "active", round).random(len(plan.matchings)) < self.budget
        links = [edges for edges, on in zip(plan.matchings, active, strict=True) if on]
        return Graph.undirected(len(roster), np.concatenate([np.zeros((0, 2), np.int64), *links]))

    def mixing(self, roster: Roster, round: int, seed: int, rule: str | None = None) -> Mixing:
        """W = I - alpha L_t, or by the named rule on the active links."""
        if rule is not None:
            return super().mixing(roster, round, seed, rule)
        graph, alpha = self.graph(roster, round, seed), _plan(self, roster, seed).alpha
        return Mixing.on(graph, np.full(graph.arcs, alpha), 1.0 - alpha * graph.degrees)

    def period(self, agents: int) -> int | None:
        """Drawn anew every round, unless all links are always active."""
        return 1 if self.budget == 1 else None

    def contraction(self, roster: Roster, seed: int) -> float:
        """sqrt ||E[W^2] - J||: what a round leaves of the distance to the mean, in expectation."""
        plan = _plan(self, roster, seed)
        return float(np.sqrt(max(_left(self.budget, plan.alpha, value) for value in plan.ends)))


@dataclass(frozen=True)
class _Plan:
    """The matchings, alpha, and the smallest positive and the largest eigenvalue of the base's Laplacian."""

    matchings: tuple[Ints, ...]
    alpha: float
    ends: tuple[float, float]


@remember
def _plan(topology: Matcha, roster: Roster, seed: int) -> _Plan:
    base = topology.base.graph(roster, 0, seed)
    _check(topology.base, base)
    if base.size == 1:
        return _Plan((), 0.0, (0.0, 0.0))
    laplacian = np.diag(base.degrees.astype(float))
    laplacian[base.target, base.source] -= 1
    values = np.linalg.eigvalsh(laplacian)
    ends = float(values[1]), float(values[-1])
    alpha = min(best_alpha(topology.budget, *ends), 1.0 / int(base.degrees.max()))
    return _Plan(tuple(matchings(base)), alpha, ends)


def best_alpha(budget: float, low: float, high: float) -> float:
    """The alpha with the smallest ||E[W^2] - J||, in closed form.

    On an eigenvector of L with eigenvalue l, E[W^2] is q(l) = 1 - 2 alpha p l + alpha^2 (p^2 l^2 + 2 p (1 - p) l),
    convex in l, so that the largest lies at the smallest positive or the largest eigenvalue. Below their crossing
    that is q(low), which falls up to 1/(p low + 2 (1 - p)); beyond it is q(high), which rises.
    """
    crossing = 2 / (budget * (low + high) + 2 * (1 - budget))
    return min(crossing, 1 / (budget * low + 2 * (1 - budget)))


def _left(budget: float, alpha: float, value: float) -> float:
    spread = budget**2 * value**2 + 2 * budget * (1 - budget) * value
    return 1 - 2 * alpha * budget * value + alpha**2 * spread


def _check(base: Topology, graph: Graph) -> None:
    if base.period(graph.size) != 1:
        raise BadInput(
            f"topology: matcha takes a base that stays, and {base.name} changes from round to round. Take a base such "
            "as ring, random-regular or erdos-renyi."
        )
    if not graph.symmetric:
        raise BadInput(
            f"topology: matcha takes a base whose links work both ways, and {base.name} is directed. Take a base such "
            "as ring, random-regular or erdos-renyi."
        )
    if not graph.connected:
        raise BadInput(
            f"topology: matcha takes a connected base, and this {base.name} is not. Join its parts."
        )
