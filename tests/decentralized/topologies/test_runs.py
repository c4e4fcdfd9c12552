"""Engines on every topology: without gradients models meet, at their mean where W is doubly stochastic."""

from __future__ import annotations

import pytest
import torch

from edgekit.decentralized.algorithms.clique_averaging import CliqueAveraging
from edgekit.decentralized.algorithms.d_psgd import DPSGD
from edgekit.decentralized.algorithms.moshpit import MoshpitSGD
from edgekit.decentralized.algorithms.sgp import SGP
from edgekit.decentralized.facts import stand_in
from edgekit.decentralized.objective import Quadratic
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.topologies.custom import Custom
from edgekit.decentralized.topologies.d_cliques import DCliques
from edgekit.decentralized.topologies.moshpit import Moshpit
from edgekit.decentralized.vector_engine import VectorEngine
from edgekit.registry import topologies
from edgekit.testing.decentralized_sample import still

AGENTS = 16


def models(agents: int = AGENTS) -> torch.Tensor:
    return torch.randn(agents, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def run(algorithm, topology, rounds: int, *, objective=None, rows=None, lr: float = 0.1) -> VectorEngine:
    rows = models() if rows is None else rows
    engine = VectorEngine(
        algorithm,
        topology,
        objective or still(agents=len(rows)),
        rows,
        Settings(optimizer=Sgd(lr=lr), rounds=rounds, seed=1),
        roster=stand_in(len(rows)),
    )
    for _ in range(rounds):
        engine.round()
    return engine


@pytest.mark.parametrize("name", sorted(set(topologies._builtin) - {"custom"}))
@pytest.mark.parametrize("algorithm", [DPSGD(), SGP()], ids=lambda value: value.name)
def test_models_meet_at_their_mean(name, algorithm):
    start = models()
    found = run(algorithm, topologies.get(name)(), 80).models
    # push-sum keeps the mean of sums, which its quotients share once they agree
    assert torch.allclose(found.mean(0), start.mean(0), rtol=0, atol=1e-10 if algorithm.keeps_mean else 1e-2)
    assert (found - found.mean(0)).norm() < 0.5 * (start - start.mean(0)).norm()


def test_moshpit_s_algorithm_gives_the_mean_after_as_many_rounds_as_dimensions():
    engine = run(MoshpitSGD(), Moshpit(dimensions=2), 2)
    assert torch.allclose(engine.models, models().mean(0).expand(AGENTS, -1), atol=1e-12)


def test_cliques_without_skew_step_along_the_gradient_of_all():
    """Agents of one class share an optimum, so a clique that holds all classes has the gradient of all."""
    optima = torch.randn(10, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64).repeat(4, 1)
    rows = torch.zeros(40, 12, dtype=torch.float64)
    engine = run(CliqueAveraging(), DCliques(), 5, objective=Quadratic(optima), rows=rows, lr=0.2)
    expected = optima.mean(0) * (1 - 0.8**5)
    assert torch.allclose(engine.models, expected.expand(40, -1), atol=1e-12)


def test_a_matrix_of_one_s_own_is_what_the_engine_mixes_with():
    matrix = ((0.5, 0.5, 0.0), (0.25, 0.5, 0.25), (0.0, 0.5, 0.5))
    doubly = ((0.5, 0.5, 0.0), (0.5, 0.25, 0.25), (0.0, 0.25, 0.75))
    rows = models(3)
    engine = run(DPSGD(), Custom(matrix=doubly), 1, rows=rows)
    assert torch.allclose(engine.models, torch.tensor(doubly, dtype=torch.float64) @ rows)
    with pytest.raises(Exception, match="rows and columns that sum to 1"):
        run(DPSGD(), Custom(matrix=matrix), 1, rows=rows)
