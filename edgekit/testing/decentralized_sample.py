"""What the kits of decentralized training work on: small problems, and a topology that every algorithm can run on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Groups, Topology

if TYPE_CHECKING:
    from edgekit.decentralized.model_objective import ModelObjective
    from edgekit.decentralized.objective import Quadratic

AGENTS = 8


@dataclass(frozen=True)
class TwoCliques(Topology):
    """Two halves, complete within, joined by two links: undirected, static, with groups."""

    name: ClassVar[str] = "two-cliques"

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """All pairs of a half, and first to first, last to last."""
        half = len(roster) // 2
        inner = [(low + i, low + j) for low in (0, half) for i in range(half) for j in range(i)]
        return Graph.undirected(len(roster), [*inner, (0, half), (half - 1, 2 * half - 1)])

    def groups(self, roster: Roster, round: int, seed: int) -> Groups:
        """The halves."""
        half = len(roster) // 2
        return tuple(range(half)), tuple(range(half, 2 * half))


def quadratic(*, size: int = 12, agents: int = AGENTS) -> Quadratic:
    """Agents that disagree: 1/2 |x - b_i|^2 in float64."""
    import torch

    from edgekit.decentralized.objective import Quadratic

    chance = torch.Generator().manual_seed(0)
    return Quadratic(torch.randn(agents, size, generator=chance, dtype=torch.float64))


def still(*, size: int = 12, agents: int = AGENTS) -> Quadratic:
    """No gradient anywhere: what is left of an algorithm is its mixing."""
    import torch

    from edgekit.decentralized.objective import Quadratic

    zeros = torch.zeros(agents, size, dtype=torch.float64)
    return Quadratic(zeros, torch.zeros(agents, size, size, dtype=torch.float64))


def perceptron(*, agents: int = AGENTS, batch: int = 8) -> tuple[ModelObjective, Any]:
    """(the objective of a small perceptron on samples that agents see unevenly, one row of weights)."""
    import numpy as np
    import torch
    from torch import nn

    from edgekit.decentralized.model_objective import ModelObjective
    from edgekit.decentralized.sampler import Sampler
    from edgekit.decentralized.samples import Samples

    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(agents * 2 * batch) * 4 // (agents * 2 * batch)
    inputs = torch.randn(len(labels), 6, generator=chance) + labels.unsqueeze(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    shares = {agent: np.arange(agent * 2 * batch, (agent + 1) * 2 * batch) for agent in range(agents)}
    objective = ModelObjective(
        model,
        nn.functional.cross_entropy,
        Samples(inputs, labels),
        Sampler(shares, batch, 0),
        gradients="loop",
    )
    return objective, objective.layout.pack(dict(model.named_parameters())).detach().clone()
