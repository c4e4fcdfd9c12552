"""Asynchronous agents apart: their recorded events replayed in one engine give the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.codecs.error_feedback import ErrorFeedback
from edgekit.codecs.natural import Natural
from edgekit.codecs.raw import Raw
from edgekit.codecs.top_k import TopK
from edgekit.decentralized.algorithms.ad_psgd import ADPSGD
from edgekit.decentralized.algorithms.swarm import SwarmSGD
from edgekit.decentralized.async_solo import AsyncSolo, Happening
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.replay import Replay
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.schedule import Schedule
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.topologies.ring import Ring
from edgekit.errors import BadInput
from edgekit.testing.decentralized_sample import AGENTS, perceptron, still
from tests.decentralized.problems import random


def made(algorithm, objective, models, *, codec=None, lr=0.05) -> tuple[list[AsyncSolo], Replay]:
    settings = Settings(
        codec=codec or Raw(), optimizer=Sgd(lr=lr), rounds=40, seed=3, schedule=Schedule(warmup=0.2)
    )
    roster = Roster.of(len(models))
    agents = [
        AsyncSolo(algorithm, Ring(), objective, models[i : i + 1].clone(), settings, roster, i)
        for i in roster.ids
    ]
    return agents, Replay(algorithm, Ring(), objective, models.clone(), settings)


def happen(
    agents: list[AsyncSolo], steps: int, *, lost: float = 0.0, twice: float = 0.0, seed: int = 0
) -> None:
    """Agents work in any order, and messages travel for a while: some get lost, some come twice."""
    chance, mail = np.random.default_rng(seed), []

    def post(*message) -> None:
        for _ in range(0 if chance.random() < lost else 2 if chance.random() < twice else 1):
            mail.append(message)

    for _ in range(steps):
        agent = int(chance.integers(len(agents)))
        agents[agent].work()
        met = agents[agent].meet()
        if met is not None:
            post("offer", met[0], agent, met[1], met[2])
        while mail and chance.random() < 0.75:
            kind, receiver, sender, number, payload = mail.pop(int(chance.integers(len(mail))))
            if kind == "answer":
                agents[receiver].answered(sender, number, payload)
            else:
                answer = agents[receiver].offered(sender, number, payload)
                post("answer", sender, receiver, number, answer)


@pytest.mark.parametrize("codec", [Raw(), Natural(), ErrorFeedback(TopK(ratio=0.2))])
@pytest.mark.parametrize("algorithm", [ADPSGD(), SwarmSGD()])
@pytest.mark.parametrize("faults", [{}, {"lost": 0.1, "twice": 0.2}])
def test_replayed_events_give_the_same_bits(algorithm, codec, faults):
    objective, row = perceptron()
    agents, replay = made(algorithm, objective, row.reshape(1, -1).repeat(AGENTS, 1), codec=codec)
    happen(agents, 120, **faults)
    replay.play([agent.events for agent in agents])
    apart = torch.cat([agent.model for agent in agents])
    assert not torch.equal(apart[0], apart[1])
    assert torch.equal(apart, replay.models)
    assert [agent.sent for agent in agents] == replay.ledger.bytes.tolist()
    assert [agent.works for agent in agents] == replay.works.tolist()


def test_meetings_keep_the_mean():
    models = random(8, 5)
    agents, _ = made(ADPSGD(), still(size=5), models)
    happen(agents, 400)
    under_way = torch.zeros(5, dtype=torch.float64)
    for agent in agents:
        for number, offered in agent._offers.items():
            partner = next((p for p in agents if (agent.position, number) in p._answers), None)
            if partner is not None:  # it has taken its half; the answer is still on its way
                own = torch.from_numpy(np.frombuffer(partner._answers[agent.position, number]).copy())
                under_way += 0.5 * (own - offered)
    found = torch.cat([agent.model for agent in agents])
    assert (found.sum(0) + under_way - models.sum(0)).abs().max() < 1e-12
    assert (found - models.mean(0)).abs().max() < 0.5


def test_a_resumed_agent_goes_on_with_the_same_bits():
    objective, row = perceptron()
    (one, *_), _ = made(ADPSGD(), objective, row.reshape(1, -1).repeat(AGENTS, 1), codec=Natural())
    (two, *_), _ = made(ADPSGD(), objective, row.reshape(1, -1).repeat(AGENTS, 1), codec=Natural())
    for _ in range(3):
        one.work()
        one.meet()
    two.restore(one.snapshot())
    for agent in (one, two):
        agent.work()
    assert torch.equal(one.model, two.model)
    assert one.meet()[:3] == two.meet()[:3]


def test_events_without_an_order_are_refused():
    _, replay = made(ADPSGD(), still(size=5), random(8, 5))
    with pytest.raises(BadInput, match="no order"):
        replay.play([[Happening("offer", 1, 0)], *([[]] * 7)])


def test_what_makes_no_sense_is_no_event():
    (agent, *_), _ = made(ADPSGD(), still(size=5), random(8, 5))
    assert agent.offered(1, 0, b"short") is None
    assert not agent.answered(
        1, 5, agent.settings.codec.encode(np.zeros(5), agent.objective.layout.spec(torch.float64), None)
    )
    assert agent.events == []
