"""The theorems that the algorithms stand on, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.codecs.natural import Natural
from edgekit.decentralized.algorithms.all_reduce import AllReduce
from edgekit.decentralized.algorithms.choco import Choco
from edgekit.decentralized.algorithms.clique_averaging import CliqueAveraging
from edgekit.decentralized.algorithms.d2 import D2
from edgekit.decentralized.algorithms.d_psgd import DPSGD
from edgekit.decentralized.algorithms.dacfl import DACFL
from edgekit.decentralized.algorithms.dcd import DCD
from edgekit.decentralized.algorithms.deep_squeeze import DeepSqueeze
from edgekit.decentralized.algorithms.dmsgd import DmSGD
from edgekit.decentralized.algorithms.exact_diffusion import ExactDiffusion
from edgekit.decentralized.algorithms.extra import Extra
from edgekit.decentralized.algorithms.fed_avg import FedAvg
from edgekit.decentralized.algorithms.gradient_tracking import GradientTracking
from edgekit.decentralized.algorithms.ngc import NGC, CompNGC
from edgekit.decentralized.algorithms.nonlinear_gossip import NonlinearGossip
from edgekit.decentralized.algorithms.push_diging import PushDIGing
from edgekit.decentralized.algorithms.quasi_global import QuasiGlobal
from edgekit.decentralized.algorithms.sgp import SGP
from edgekit.decentralized.graph import Graph
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.objective import Quadratic
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.topologies.complete import Complete
from edgekit.decentralized.topologies.ring import Ring
from edgekit.errors import BadInput
from edgekit.testing.decentralized_sample import TwoCliques, still
from tests.decentralized.problems import Fixed, least_squares, matrix, random, run

EYE = torch.eye(8, dtype=torch.float64)
# strongly connected, no vertex like another: averaging with rows that sum to 1 is biased on it
DIGRAPH = Fixed(
    Graph.directed(
        8, [(i, (i + 1) % 8) for i in range(8)] + [(0, 3), (0, 5), (2, 7), (5, 1), (6, 2), (6, 3), (6, 4)]
    )
)


def test_d_psgd_stops_at_its_closed_form():
    """(I - W + gamma I) x = gamma b."""
    center, gamma = random(8, 5), 0.1
    found = run(DPSGD(), Quadratic(center), torch.zeros_like(center), rounds=600, lr=gamma).models
    fixed = torch.linalg.solve(EYE - matrix(Ring(), 8) + gamma * EYE, gamma * center)
    assert (found - fixed).abs().max() < 1e-12


def test_d_psgd_adapt_then_combine_stops_at_its_closed_form():
    """x = W ((1 - gamma) x + gamma b)."""
    center, gamma = random(8, 5), 0.1
    order = DPSGD(order="adapt-then-combine")
    found = run(order, Quadratic(center), torch.zeros_like(center), rounds=600, lr=gamma).models
    mix = matrix(Ring(), 8)
    fixed = torch.linalg.solve(EYE - (1 - gamma) * mix, gamma * mix @ center)
    assert (found - fixed).abs().max() < 1e-12


@pytest.mark.parametrize("order", ["parallel", "adapt-then-combine", "combine-then-adapt"])
def test_the_mean_of_d_psgd_moves_by_the_mean_gradient(order):
    problem, models, lr = least_squares(), random(8, 5, seed=3), 0.05
    for _ in range(5):
        at = matrix(Ring(), 8) @ models if order == "combine-then-adapt" else models
        gradient = torch.empty_like(models)
        problem.gradient(at, range(8), [0] * 8, gradient)
        after = run(DPSGD(order=order), problem, models, rounds=1, lr=lr).models
        assert (after.mean(0) - models.mean(0) + lr * gradient.mean(0)).abs().max() < 1e-14
        models = after


@pytest.mark.parametrize("algorithm", [DPSGD(), DPSGD(order="adapt-then-combine"), AllReduce(), FedAvg()])
def test_on_the_complete_graph_it_is_gradient_descent_on_the_mean(algorithm):
    problem, lr = least_squares(), 0.1
    x, models = torch.ones(5, dtype=torch.float64), torch.ones(8, 5, dtype=torch.float64)
    for _ in range(20):
        gradient = torch.empty(8, 5, dtype=torch.float64)
        problem.gradient(x.repeat(8, 1), range(8), [0] * 8, gradient)
        x = x - lr * gradient.mean(0)
    found = run(algorithm, problem, models, topology=Complete(), rounds=20, lr=lr).models
    if isinstance(algorithm, DPSGD) and algorithm.order == "parallel":
        found = found.mean(0, keepdim=True)  # each still holds its own last step
        assert (found - x).norm() < 0.2 * x.norm()
    else:
        assert (found - x).abs().max() < 1e-12


@pytest.mark.parametrize("algorithm", [GradientTracking(), Extra(), ExactDiffusion(), D2()])
def test_bias_free_algorithms_reach_the_optimum(algorithm):
    problem = least_squares()
    found = run(algorithm, problem, torch.zeros(8, 5, dtype=torch.float64), rounds=2500, lr=0.08).models
    assert (found - problem.optimum).abs().max() < 1e-10


def test_d_psgd_does_not_and_its_bias_falls_with_the_rate():
    problem, zeros = least_squares(), torch.zeros(8, 5, dtype=torch.float64)
    bias = [
        float((run(DPSGD(), problem, zeros, rounds=4000, lr=lr).models - problem.optimum).norm())
        for lr in (0.04, 0.02)
    ]
    assert bias[0] > 1e-2
    assert 1.6 < bias[0] / bias[1] < 2.4


def test_d2_refuses_a_matrix_with_an_eigenvalue_at_or_below_minus_a_third():
    weak = np.array([[0.1, 0.45, 0, 0.45], [0.45, 0.1, 0.45, 0], [0, 0.45, 0.1, 0.45], [0.45, 0, 0.45, 0.1]])
    topology = Fixed(mixing=Mixing.dense(weak))
    with pytest.raises(BadInput, match=r"d2 diverges.*-0\.333; this one has -0\.8.*exact-diffusion"):
        run(D2(), least_squares(4), torch.zeros(4, 5, dtype=torch.float64), topology=topology)
    problem = least_squares(4)
    found = run(
        ExactDiffusion(),
        problem,
        torch.zeros(4, 5, dtype=torch.float64),
        topology=topology,
        rounds=3000,
        lr=0.05,
    )
    assert (found.models - problem.optimum).abs().max() < 1e-10


def test_gradient_tracking_tracks_the_mean_gradient_in_every_round():
    problem = least_squares()
    engine = run(GradientTracking(), problem, random(8, 5), rounds=0)
    for _ in range(10):
        engine.round()
        assert (engine.state["y"].mean(0) - engine.state["g"].mean(0)).abs().max() < 1e-13


def test_push_sum_on_an_irregular_digraph_reaches_the_mean():
    models = random(8, 5)
    found = run(SGP(), still(size=5), models, topology=DIGRAPH, rounds=400)
    assert (found.models - models.mean(0)).abs().max() < 1e-12
    assert abs(float(found.state["w"].sum()) - 8) < 1e-12
    assert (found.state["u"].sum(0) - models.sum(0)).abs().max() < 1e-11


def test_rows_that_sum_to_one_are_biased_on_the_same_digraph():
    row_stochastic = Fixed(mixing=DIGRAPH.mixing(None, 0, 0, "uniform"))
    with pytest.raises(BadInput, match=r"d-psgd needs rows and columns that sum to 1"):
        run(DPSGD(), still(size=5), random(8, 5), topology=row_stochastic)
    mix, models = row_stochastic.mixing(None, 0, 0).matrix(), random(8, 5).numpy()
    limit = np.linalg.matrix_power(mix, 500) @ models
    assert np.abs(limit - models.mean(0)).max() > 0.01


def test_push_diging_reaches_the_optimum_on_a_digraph():
    problem = least_squares()
    found = run(
        PushDIGing(), problem, torch.zeros(8, 5, dtype=torch.float64), topology=DIGRAPH, rounds=4000, lr=0.03
    )
    assert (found.models - problem.optimum).abs().max() < 1e-10


def test_ngc_on_the_complete_graph_is_centralized_descent():
    problem, lr = least_squares(), 0.1
    x = torch.ones(5, dtype=torch.float64)
    for _ in range(20):
        gradient = torch.empty(8, 5, dtype=torch.float64)
        problem.gradient(x.repeat(8, 1), range(8), [0] * 8, gradient)
        x = x - lr * gradient.mean(0)
    ones = torch.ones(8, 5, dtype=torch.float64)
    found = run(NGC(alpha=1.0), problem, ones, topology=Complete(), rounds=20, lr=lr).models
    assert (found - x).abs().max() < 1e-12


def test_ngc_with_equal_data_averages_the_gradients_at_the_neighbours_models():
    """Model- and data-variant gradients are the same where all agents hold the same data."""
    problem = Quadratic(torch.zeros(8, 5, dtype=torch.float64))
    models = random(8, 5)
    one, two = (run(NGC(alpha=alpha), problem, models, rounds=1, lr=0.1).models for alpha in (0.0, 1.0))
    mix = matrix(Ring(), 8)
    off = mix - torch.diag(mix.diagonal())
    along = off @ models + mix.diagonal().unsqueeze(1) * (mix @ models)
    assert (one - (mix @ models - 0.1 * along)).abs().max() < 1e-14
    # what neighbour j answers is its gradient at my model, which with equal data is my gradient at my model
    back = off.sum(1, keepdim=True) * models + mix.diagonal().unsqueeze(1) * (mix @ models)
    assert (two - (mix @ models - 0.1 * back)).abs().max() < 1e-14


def test_comp_ngc_telescopes_for_every_neighbour():
    problem, models = least_squares(), random(8, 5)
    engine = run(CompNGC(), problem, models, rounds=30, lr=0.05)
    names = {name for name in engine.exchange.residuals.rows if name[0] == "cross"}
    ring = {("cross", i, (i + step) % 8) for i in range(8) for step in (-1, 1)}
    assert names == ring
    assert engine.models.isfinite().all()


@pytest.mark.parametrize(
    "algorithm", [DPSGD(), DmSGD(momentum=0.5), QuasiGlobal(momentum=0.5, mu=0.5), NonlinearGossip()]
)
def test_mixing_alone_reaches_the_mean(algorithm):
    models = random(8, 5)
    found = run(algorithm, still(size=5), models, rounds=400).models
    assert (found - models.mean(0)).abs().max() < 1e-9
    assert (found.mean(0) - models.mean(0)).abs().max() < 1e-13


def test_the_sum_of_fodac_is_the_sum_of_the_signals():
    problem = least_squares()
    engine = run(DACFL(), problem, random(8, 5), rounds=0)
    for _ in range(50):
        engine.round()
        assert (engine.state["x"].sum(0) - engine.state["w"].sum(0)).abs().max() < 1e-12


def test_dacfl_users_hold_the_average_once_training_stands_still():
    """w_t = W^t w_0, x_t = W^t w_0 + t (W^t - W^(t-1)) w_0, both at the rate of the second eigenvalue."""
    models, mix = random(8, 5), matrix(Ring(), 8)
    engine = run(DACFL(), still(size=5), models, rounds=6)
    power = torch.linalg.matrix_power(mix, 6)
    wanted = power @ models + 6 * (power - torch.linalg.matrix_power(mix, 5)) @ models
    assert (engine.models - wanted).abs().max() < 1e-13
    for _ in range(250):
        engine.round()
    assert (engine.models - models.mean(0)).abs().max() < 1e-12


def test_the_replicas_of_dcd_are_the_models():
    problem = least_squares()
    engine = run(DCD(), problem, random(8, 5), rounds=25, codec=Natural())
    assert torch.equal(engine.exchange.public["model"], engine.models)
    assert (engine.state["mixed"] - matrix(Ring(), 8) @ engine.models).abs().max() < 1e-12


def test_choco_reaches_the_mean_through_a_lossy_codec():
    models = random(8, 5)
    engine = run(Choco(gamma=0.5), still(size=5), models, rounds=600, codec=Natural())
    assert (engine.models - models.mean(0)).abs().max() < 1e-6
    assert (engine.models.mean(0) - models.mean(0)).abs().max() < 1e-13


def test_what_deep_squeeze_lost_is_kept_and_sent_later():
    """x is moved by gamma (W - I) q, and the residual is v - q: nothing is lost but delayed."""
    engine = run(DeepSqueeze(gamma=0.3), still(size=5), random(8, 5), rounds=0, codec=Natural())
    for _ in range(20):
        value = engine.state["x"] + engine.state["e"]
        before = engine.state["x"].clone()
        engine.round()
        seen = value - engine.state["e"]
        moved = before + 0.3 * (matrix(Ring(), 8) - EYE) @ seen
        assert (engine.state["x"] - moved).abs().max() < 1e-13


def test_clique_averaging_with_unskewed_cliques_is_centralized_sgd():
    """Two cliques that hold the same data together: their mean gradient is the global one."""
    half = random(4, 5)
    problem, lr = Quadratic(torch.cat([half, half])), 0.1
    ones = torch.ones(8, 5, dtype=torch.float64)
    found = run(
        CliqueAveraging(), problem, ones, topology=TwoCliques(), rounds=30, optimizer=Sgd(lr=lr, momentum=0.9)
    ).models
    x, momentum = torch.ones(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    for _ in range(30):
        momentum = 0.9 * momentum + (x - half.mean(0))
        x = x - lr * momentum
    assert (found - x).abs().max() < 1e-12


def test_nonlinear_gossip_is_gossip_for_power_one_and_faster_at_equal_step_below():
    models = random(16, 3) * 0.5
    rounds = {}
    for power in (1.0, 0.7, 0.5, 0.3):
        engine = run(NonlinearGossip(power=power, gamma=0.5), still(size=3, agents=16), models, rounds=0)
        start = float((models - models.mean(0)).square().sum())
        count = 0
        while float((engine.models - models.mean(0)).square().sum()) > 1e-6 * start:
            engine.round()
            count += 1
        rounds[power] = count
        assert (engine.models.mean(0) - models.mean(0)).abs().max() < 1e-12
    assert rounds[1.0] > 1.5 * rounds[0.5]
    mix = matrix(Ring(), 16)
    linear = run(NonlinearGossip(power=1.0, gamma=0.5), still(size=3, agents=16), models, rounds=1).models
    assert (linear - (models + 0.5 * (mix @ models - models))).abs().max() < 1e-14


def test_without_the_guard_nonlinear_gossip_chatters_and_the_floor_falls_with_gamma():
    models = random(8, 3)
    floors = {}
    for gamma, guard in ((0.5, False), (0.1, False), (0.5, True)):
        engine = run(NonlinearGossip(power=0.5, gamma=gamma, guard=guard), still(size=3), models, rounds=2000)
        floors[gamma, guard] = float((engine.models - models.mean(0)).abs().max())
    assert floors[0.5, False] > 10 * floors[0.1, False] > 0
    assert floors[0.5, True] < 1e-12


def test_quasi_global_momentum_follows_the_mixed_model():
    problem, lr, b, mu = least_squares(), 0.05, 0.8, 0.7
    engine = run(QuasiGlobal(momentum=b, mu=mu), problem, random(8, 5), rounds=0, lr=lr)
    mix, m = matrix(Ring(), 8), torch.zeros(8, 5, dtype=torch.float64)
    x = engine.models.clone()
    for _ in range(5):
        gradient = torch.empty_like(x)
        problem.gradient(x, range(8), [0] * 8, gradient)
        after = mix @ (x - lr * (b * m + gradient))
        m = mu * m + (1 - mu) * (x - after) / lr
        x = after
        engine.round()
        assert (engine.models - x).abs().max() < 1e-12


def test_momentum_in_the_optimizer_is_dmsgd():
    problem, models = least_squares(), random(8, 5)
    order = DPSGD(order="adapt-then-combine")
    one = run(order, problem, models, rounds=10, optimizer=Sgd(lr=0.05, momentum=0.9)).models
    two = run(DmSGD(momentum=0.9), problem, models, rounds=10, lr=0.05).models
    assert (one - two).abs().max() < 1e-12
