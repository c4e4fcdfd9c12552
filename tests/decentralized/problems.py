"""Small problems with known answers, and the shortest way to run an algorithm on them."""

from __future__ import annotations

import torch

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.objective import Quadratic
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.topologies.ring import Ring
from edgekit.decentralized.topology import Topology
from edgekit.decentralized.vector_engine import VectorEngine


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def least_squares(agents: int = 8, size: int = 5) -> Quadratic:
    """F_i = 1/2 |A_i (x - b_i)|^2 with curvatures between about 0.5 and 3, different for every agent."""
    factors = random(agents, size + 3, size, seed=1)
    curvature = factors.transpose(1, 2) @ factors / (size + 3) + 0.3 * torch.eye(size, dtype=torch.float64)
    return Quadratic(random(agents, size, seed=2), curvature)


def run(
    algorithm,
    objective,
    models: torch.Tensor,
    *,
    topology: Topology | None = None,
    rounds: int = 100,
    lr: float = 0.1,
    **settings,
) -> VectorEngine:
    engine = VectorEngine(
        algorithm,
        topology or Ring(),
        objective,
        models,
        Settings(optimizer=settings.pop("optimizer", Sgd(lr=lr)), rounds=rounds, **settings),
    )
    for _ in range(rounds):
        engine.round()
    return engine


def matrix(topology: Topology, agents: int, rule: str | None = None) -> torch.Tensor:
    return torch.from_numpy(topology.mixing(Roster.of(agents), 0, 0, rule).matrix())


class Fixed(Topology):
    """A graph or a matrix given as it is."""

    name = "fixed"

    def __init__(self, graph: Graph | None = None, mixing: Mixing | None = None) -> None:
        self._graph, self._mixing = graph, mixing

    def graph(self, roster, round, seed):
        return self._graph or self._mixing.graph

    def mixing(self, roster, round, seed, rule=None):
        return self._mixing or super().mixing(roster, round, seed, rule)
