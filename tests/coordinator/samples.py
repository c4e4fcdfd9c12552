"""What crews are tried on: a perceptron with and without running statistics, and graphs that change."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from edgekit.codecs.codec import Codec
from edgekit.decentralized.algorithm import Algorithm, AsyncAlgorithm
from edgekit.decentralized.model_objective import ModelObjective
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.requirements import check_setting
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.rounds import Rounds
from edgekit.decentralized.sampler import Sampler
from edgekit.decentralized.samples import Samples
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.topologies.moshpit import Moshpit
from edgekit.decentralized.topologies.one_peer_exponential import OnePeerExponential
from edgekit.decentralized.topologies.random_matching import RandomMatching
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput
from edgekit.registry import algorithms, codecs
from edgekit.testing.decentralized_sample import AGENTS, perceptron

ALL = {name: algorithms.get(name)() for name in algorithms.names()}
SYNCHRONOUS = {name: made for name, made in ALL.items() if isinstance(made, Algorithm)}
ASYNCHRONOUS = {name: made for name, made in ALL.items() if isinstance(made, AsyncAlgorithm)}


def settings(codec: str | Codec = "raw", *, lr: float = 0.05, **more: Any) -> Settings:
    """Those of all tests here."""
    made = codecs.get(codec)() if isinstance(codec, str) else codec
    return Settings(codec=made, optimizer=Sgd(lr=lr), rounds=1000, seed=3, **more)


def plain() -> ModelObjective:
    """The kit's perceptron."""
    return perceptron()[0]


def first_rows(objective: Any, agents: int = AGENTS) -> torch.Tensor:
    """The same first model for all [n, P]."""
    model = objective.gradients.model
    return objective.layout.pack(dict(model.named_parameters())).detach().clone().repeat(agents, 1)


def normalized(agents: int = AGENTS, batch: int = 4) -> ModelObjective:
    """A perceptron with BatchNorm; every agent has running statistics of its own."""
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(agents * 2 * batch) % 4
    inputs = torch.randn(len(labels), 6, generator=chance) + torch.arange(len(labels)).unsqueeze(1) / 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))
    shares = {agent: np.arange(agent * 2 * batch, (agent + 1) * 2 * batch) for agent in range(agents)}
    made = ModelObjective(
        model, nn.functional.cross_entropy, Samples(inputs, labels), Sampler(shares, batch, 0)
    )
    row = made.buffer_layout.pack(dict(model.named_buffers()))
    made.buffers = {agent: row.clone() for agent in range(agents)}
    return made


CHANGING = (OnePeerExponential(), RandomMatching(), Moshpit())


def allowed(algorithm: Algorithm, topology: Topology) -> bool:
    """Whether the algorithm works on a topology."""
    made = settings()
    try:
        check_setting(
            algorithm,
            topology,
            made.optimizer,
            made.codec,
            agents=AGENTS,
            local_steps=1,
            has_buffers=False,
        )
        Rounds(algorithm, topology, Roster.of(AGENTS), made).check(0)
    except BadInput:
        return False
    return True
