"""The engines: absence, lossy links, changing rosters, groups, snapshots, asynchronous events."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.codecs.natural import Natural
from edgekit.decentralized.algorithms.ad_psgd import ADPSGD
from edgekit.decentralized.algorithms.all_reduce import AllReduce
from edgekit.decentralized.algorithms.choco import Choco
from edgekit.decentralized.algorithms.d_psgd import DPSGD
from edgekit.decentralized.algorithms.fed_avg import FedAvg
from edgekit.decentralized.algorithms.gradient_tracking import GradientTracking
from edgekit.decentralized.algorithms.moshpit import MoshpitSGD
from edgekit.decentralized.algorithms.sgp import SGP
from edgekit.decentralized.algorithms.swarm import SwarmSGD
from edgekit.decentralized.event_engine import EventEngine
from edgekit.decentralized.graph import Graph
from edgekit.decentralized.links import Links, VirtualClock
from edgekit.decentralized.objective import Quadratic
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Absence, Settings
from edgekit.decentralized.topologies.complete import Complete
from edgekit.decentralized.topologies.ring import Ring
from edgekit.decentralized.vector_engine import VectorEngine
from edgekit.errors import BadInput
from edgekit.testing.decentralized_sample import TwoCliques, perceptron, still
from tests.decentralized.problems import Fixed, least_squares, random, run


def test_a_round_without_anyone_changes_nothing():
    models = random(8, 5)
    engine = run(DPSGD(), least_squares(), models, rounds=3, absence=Absence(rate=1.0 - 1e-12))
    assert torch.equal(engine.models, models)
    assert engine.ledger.bytes.sum() == 0
    assert engine.context.draws.tolist() == [0] * 8


def test_who_is_absent_keeps_its_model_and_its_batch():
    engine = run(DPSGD(), least_squares(), random(8, 5), rounds=0, absence=Absence(rate=0.4))
    for _ in range(10):
        now, before, draws = engine.now(), engine.models.clone(), engine.context.draws.copy()
        engine.round()
        gone = ~now.present
        assert torch.equal(engine.models[torch.from_numpy(gone)], before[torch.from_numpy(gone)])
        assert (engine.context.draws - draws == now.present).all()


@pytest.mark.parametrize("absence", [Absence(rate=0.3), Absence(loss=0.3)])
def test_absence_and_loss_keep_the_mean(absence):
    models = random(8, 5)
    engine = run(DPSGD(), still(size=5), models, rounds=60, absence=absence)
    assert (engine.models.mean(0) - models.mean(0)).abs().max() < 1e-13
    assert (engine.models - models.mean(0)).abs().max() < 0.1


def test_push_sum_keeps_its_mass_when_links_fail_and_still_reaches_the_mean():
    models = random(8, 5)
    engine = run(SGP(), still(size=5), models, rounds=300, absence=Absence(loss=0.3))
    assert abs(float(engine.state["w"].sum()) - 8) < 1e-12
    assert (engine.models - models.mean(0)).abs().max() < 1e-9


def test_an_absent_member_is_left_out_of_the_mean_of_its_group():
    engine = run(
        MoshpitSGD(), still(size=5), random(8, 5), topology=TwoCliques(), rounds=0, absence=Absence(rate=0.4)
    )
    now, before = engine.now(), engine.models.clone()
    engine.round()
    for group in (range(4), range(4, 8)):
        there = [agent for agent in group if now.present[agent]]
        for agent in there:
            assert torch.allclose(engine.models[agent], before[there].mean(0))


def test_a_weighted_mean_counts_samples():
    problem = Quadratic(random(4, 3))
    problem.weight = lambda agent: [1.0, 2.0, 3.0, 4.0][agent]
    models = random(4, 3, seed=1)
    found = run(FedAvg(), problem, models, topology=Complete(), rounds=1, lr=0.1).models
    stepped = models - 0.1 * (models - problem.center)
    wanted = (torch.tensor([[1.0], [2], [3], [4]]).double() * stepped).sum(0) / 10
    assert (found - wanted).abs().max() < 1e-14


def test_fedavg_with_one_step_is_all_reduce():
    problem, ones = least_squares(), torch.ones(8, 5, dtype=torch.float64)
    one, two = (run(a, problem, ones, rounds=15, lr=0.05).models for a in (FedAvg(), AllReduce()))
    assert (one - two).abs().max() < 1e-13


def test_an_all_reduce_sends_twice_the_row_less_a_part():
    engine = run(AllReduce(), least_squares(8, 5), torch.ones(8, 5, dtype=torch.float64), rounds=1)
    assert engine.ledger.bytes.sum() == 2 * 7 * 5 * 8
    assert (engine.ledger.messages == 2 * 7).all()


def test_who_leaves_is_gone_and_who_joins_starts_from_the_mean_of_its_neighbours():
    engine = run(GradientTracking(), least_squares(), random(8, 5), rounds=5, lr=0.05)
    old = engine.models.clone()
    engine.change_roster(Roster((0, 1, 3, 4, 6)))
    assert torch.equal(engine.models, old[[0, 1, 3, 4, 6]])
    smaller = engine.models.clone()
    engine.change_roster(Roster((0, 1, 3, 4, 6, 7)))
    assert torch.equal(engine.models[:5], smaller)
    assert torch.equal(engine.models[5], (smaller[4] + smaller[0]) / 2)
    for _ in range(2000):
        engine.round()
    problem = least_squares()
    some = [0, 1, 3, 4, 6, 7]
    optimum = Quadratic(problem.center[some], problem.curvature[some]).optimum
    assert (engine.models - optimum).abs().max() < 1e-9


def test_public_copies_are_sent_whole_after_a_missed_difference():
    quiet = run(Choco(gamma=0.5), still(size=50), random(8, 50), rounds=30, codec=Natural())
    lossy = run(
        Choco(gamma=0.5), still(size=50), random(8, 50), rounds=30, codec=Natural(), absence=Absence(loss=0.2)
    )
    compressed, whole = Natural().size(lossy.objective.layout.spec(torch.float64)), 50 * 8
    carried = lossy.ledger.messages.sum()
    assert quiet.ledger.bytes.sum() == 30 * 16 * compressed
    assert lossy.ledger.bytes.sum() > carried * compressed
    resent = (lossy.ledger.bytes.sum() - carried * compressed) / (whole - compressed)
    assert resent == int(resent)
    assert 0.1 * 30 * 16 < resent < 0.3 * 30 * 16


@pytest.mark.parametrize("strict", [False, True])
def test_real_bytes_and_their_lossy_part_alone_are_the_same_run(strict):
    objective, row = perceptron()
    found = []
    for value in (strict, True):
        settings = Settings(codec=Natural(), optimizer=Sgd(lr=0.1), strict=value)
        engine = VectorEngine(DPSGD(), Ring(), objective, row.repeat(8, 1), settings)
        for _ in range(5):
            engine.round()
        found.append(engine)
    assert torch.equal(found[0].models, found[1].models)
    assert found[0].ledger.bytes.tolist() == found[1].ledger.bytes.tolist()


def test_the_clock_runs_with_gradients_and_messages():
    links = Links(bandwidth_mbps=8, latency_ms=0, seconds_per_gradient=0.5)
    clock = VirtualClock(links, np.ones(8))
    engine = VectorEngine(
        DPSGD(), Ring(), least_squares(), random(8, 5), Settings(optimizer=Sgd(lr=0.1)), clock=clock
    )
    for _ in range(3):
        engine.round()
    assert clock.seconds == pytest.approx(3 * (0.5 + 2 * 40 / 1e6))


def test_the_clock_goes_on_among_others():
    clock = VirtualClock(Links(bandwidth_mbps=8, latency_ms=0, seconds_per_gradient=0.5), np.ones(8))
    made = Settings(optimizer=Sgd(lr=0.1))
    engine = VectorEngine(DPSGD(), Ring(), least_squares(), random(8, 5), made, clock=clock)
    engine.round()
    clock.free[3] += 1.0  # the slowest of all, who leaves
    for ids in ((0, 1, 2, 4), (0, 1, 2, 4, 6)):
        engine.change_roster(Roster(ids))
        engine.round()
    assert engine.clock is engine.ledger.clock
    assert engine.clock.free == pytest.approx(np.full(5, 3 * (0.5 + 2 * 40 / 1e6)))


def test_local_steps_of_a_schedule():
    problem, models = least_squares(), random(8, 5)
    engine = run(DPSGD(order="adapt-then-combine"), problem, models, rounds=4, local_steps=3)
    assert engine.context.gradients.tolist() == [12] * 8
    assert engine.context.draws.tolist() == [12] * 8
    parallel = run(DPSGD(), problem, models, rounds=1, local_steps=3).models
    alone = models.clone()
    for _ in range(3):
        gradient = torch.empty_like(alone)
        problem.gradient(alone, range(8), [0] * 8, gradient)
        alone -= 0.1 * gradient
    mixed = torch.from_numpy(Ring().mixing(Roster.of(8), 0, 0).matrix()) @ models
    assert (parallel - (mixed + alone - models)).abs().max() < 1e-12


def events(algorithm, problem, models, *, rounds=200, links=None, **settings) -> EventEngine:
    made = Settings(optimizer=Sgd(lr=settings.pop("lr", 0.05)), rounds=rounds, **settings)
    engine = EventEngine(algorithm, Ring(), problem, models, made, links=links)
    for _ in range(rounds):
        engine.round()
    return engine


@pytest.mark.parametrize("algorithm", [ADPSGD(), SwarmSGD()])
@pytest.mark.parametrize("links", [None, Links(latency_ms=300, speeds=(0.2, 1.0))])
def test_asynchronous_pairs_keep_the_mean_and_agree(algorithm, links):
    models = random(8, 5)
    engine = events(algorithm, still(size=5), models, links=links)
    under_way = sum(
        0.5 * (event.rows[0] - event.rows[1]) for event in engine.events if event.kind == "answer"
    )
    assert (engine.models.sum(0) + under_way - models.sum(0)).abs().max() < 1e-12
    assert (engine.models - models.mean(0)).abs().max() < 1e-3


def test_asynchronous_agents_work_as_fast_as_they_are():
    engine = events(
        ADPSGD(), least_squares(), random(8, 5), links=Links(speeds=(0.2, 1.0), seconds_per_gradient=1.0)
    )
    speeds = np.array([engine.links.speed_of(agent, 0) for agent in range(8)])
    share = engine.works / engine.works.sum()
    assert share == pytest.approx(speeds / speeds.sum(), rel=0.1)


def test_asynchronous_training_comes_near_the_optimum():
    problem = Quadratic(random(8, 5))
    engine = events(ADPSGD(), problem, torch.full((8, 5), 5.0, dtype=torch.float64), rounds=400, lr=0.02)
    assert (engine.models.mean(0) - problem.optimum).norm() < 0.2


def test_directed_graphs_cannot_pair():
    topology = Fixed(Graph.directed(8, [(i, (i + 1) % 8) for i in range(8)]))
    with pytest.raises(BadInput, match=r"ad-psgd averages in pairs"):
        EventEngine(ADPSGD(), topology, least_squares(), random(8, 5), Settings())
