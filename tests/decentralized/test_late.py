"""Messages that come late, or never: what is owed is made up for, so that sums over agents stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.codecs.natural import Natural
from edgekit.codecs.raw import Raw
from edgekit.decentralized.algorithms.choco import Choco
from edgekit.decentralized.algorithms.clique_averaging import CliqueAveraging
from edgekit.decentralized.algorithms.d_psgd import DPSGD
from edgekit.decentralized.algorithms.dcd import DCD
from edgekit.decentralized.algorithms.fed_avg import FedAvg
from edgekit.decentralized.algorithms.gradient_tracking import GradientTracking
from edgekit.decentralized.algorithms.ngc import NGC
from edgekit.decentralized.algorithms.sgp import SGP
from edgekit.decentralized.keys import stream
from edgekit.decentralized.lockstep import Lockstep
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.peer import KEPT
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.solo import Solo
from edgekit.decentralized.topologies.ring import Ring
from edgekit.registry import algorithms
from edgekit.testing.decentralized_sample import AGENTS, TwoCliques, still
from tests.decentralized.problems import least_squares, random

SIZE = 5


def late(share: float, longest: int):
    """A part of the messages comes 1 .. longest rounds late."""

    def mail(round, key, sender, receiver):
        chance = stream("late", round, key, sender, receiver)
        return int(chance.integers(1, longest + 1)) if chance.random() < share else 0

    return mail


def agents(algorithm, objective, models, *, topology=None, codec=None, mail=None, lr=0.05) -> Lockstep:
    settings = Settings(codec=codec or Raw(), optimizer=Sgd(lr=lr), rounds=1000, seed=3)
    made = [
        Solo(algorithm, topology or Ring(), objective, models[i : i + 1], settings, Roster.of(len(models)), i)
        for i in range(len(models))
    ]
    for agent in made:
        if algorithm.public:
            known = agent.rounds.mixing(0).graph.senders(agent.position)
            agent.peer.open("model", {position: models[position] for position in (agent.position, *known)})
    return Lockstep(made, mail) if mail else Lockstep(made)


def run(engine: Lockstep, rounds: int) -> Lockstep:
    for _ in range(rounds):
        engine.round()
    return engine


def settle(engine: Lockstep, rounds: int = 6) -> Lockstep:
    """Rounds in which everything is in time, so that nothing is owed any more."""
    engine.mail = lambda *name: 0
    run(engine, rounds)
    assert not any(agent.peer.missed for agent in engine.agents)
    return engine


@pytest.mark.parametrize(
    ("algorithm", "codec"),
    [
        (algorithm, codec)
        for algorithm in (DPSGD(), GradientTracking(), Choco(gamma=0.4), NGC(alpha=0.0), DCD())
        for codec in (Raw(), Natural())
        if codec.lossless or algorithm.keeps_mean
    ],
)
def test_what_comes_late_keeps_the_mean_of_the_models(algorithm, codec):
    models = random(8, SIZE)
    engine = settle(run(agents(algorithm, still(size=SIZE), models, codec=codec, mail=late(0.3, 4)), 40))
    assert (engine.models.mean(0) - models.mean(0)).abs().max() < 1e-12


def test_without_what_is_owed_the_mean_would_move():
    models = random(8, SIZE)
    engine = agents(DPSGD(), still(size=SIZE), models, mail=lambda *name: None if late(0.3, 4)(*name) else 0)
    assert (run(engine, 40).models.mean(0) - models.mean(0)).abs().max() > 1e-3


def test_push_sum_finds_its_mass_again():
    models = random(8, SIZE)
    engine = run(agents(SGP(), still(size=SIZE), models, mail=late(0.3, 4)), 60)
    settle(engine, 60)
    mass = sum(float(agent.state["w"]) for agent in engine.agents)
    assert abs(mass - 8) < 1e-12
    assert (engine.models - models.mean(0)).abs().max() < 1e-6


def test_the_tracker_still_tracks_the_sum_of_gradients():
    problem = least_squares()
    engine = agents(GradientTracking(), problem, random(8, SIZE), mail=late(0.3, 4))
    settle(run(engine, 60), 600)
    assert (engine.models - problem.optimum).abs().max() < 1e-9


@pytest.mark.parametrize("algorithm", [Choco(gamma=0.4), DCD()])
def test_public_copies_are_those_of_their_owners_again(algorithm):
    engine = agents(algorithm, least_squares(), random(8, SIZE), codec=Natural(), mail=late(0.3, 4), lr=0.02)
    settle(run(engine, 60))
    own = [agent.peer.public["model"][agent.position] for agent in engine.agents]
    for agent in engine.agents:
        for position, copy in agent.peer.public["model"].items():
            assert (copy - own[position]).abs().max() < 1e-12


@pytest.mark.parametrize("algorithm", [FedAvg(), CliqueAveraging()])
def test_groups_average_over_who_is_heard(algorithm):
    models = random(AGENTS, SIZE)
    engine = agents(algorithm, still(size=SIZE), models, topology=TwoCliques(), mail=late(0.2, 2))
    run(engine, 80)
    assert (engine.models - models.mean(0)).abs().max() < 2.0
    assert _spread(engine.models) < 0.3 * _spread(models)


@pytest.mark.parametrize("name", sorted(algorithms.names()))
def test_every_algorithm_goes_on_without_some_messages(name):
    algorithm = algorithms.get(name)()
    if not hasattr(algorithm, "round"):
        pytest.skip("asynchronous: it waits for nothing")
    engine = agents(
        algorithm,
        least_squares(AGENTS, SIZE),
        torch.ones(AGENTS, SIZE, dtype=torch.float64),
        topology=TwoCliques(),
        mail=lambda *name: None if stream("lost", *name).random() < 0.1 else 0,
        lr=0.02,
    )
    run(engine, 60)
    assert engine.models.isfinite().all()
    assert engine.models.abs().max() < 20


def test_a_stalled_all_reduce_averages_nothing():
    models = random(8, SIZE)
    engine = agents(
        FedAvg(whole=True),
        still(size=SIZE),
        models,
        mail=lambda round, key, sender, receiver: None if (sender, receiver) == (3, 4) else 0,
    )
    assert torch.equal(run(engine, 3).models, models)


def test_a_message_is_owed_once():
    engine = agents(DPSGD(), still(size=SIZE), random(8, SIZE), mail=lambda *name: None)
    run(engine, 1)
    peer = engine.agents[0].peer
    message = Raw().encode(np.ones(SIZE), engine.agents[0].objective.layout.spec(torch.float64), None)
    assert peer.late(0, 0, 1, message)
    assert not peer.late(0, 0, 1, message)
    assert not peer.late(0, 0, 2, message)


def test_what_is_given_up_is_owed_no_more():
    engine = agents(DPSGD(), still(size=SIZE), random(8, SIZE), mail=lambda *name: None)
    run(engine, KEPT + 2)
    missed = engine.agents[0].peer.missed
    assert {round for round, _, _ in missed} == set(range(1, KEPT + 2))


def test_public_copies_that_lack_something_for_good_are_named():
    engine = agents(
        Choco(gamma=0.4),
        still(size=SIZE),
        random(8, SIZE),
        mail=lambda *name: None if name[2:] == (3, 4) else 0,
    )
    run(engine, KEPT + 2)
    assert [agent.peer.stale for agent in engine.agents] == [set()] * 4 + [{3}] + [set()] * 3


def _spread(models: torch.Tensor) -> float:
    return float((models - models.mean(0)).square().sum(1).mean().sqrt())
