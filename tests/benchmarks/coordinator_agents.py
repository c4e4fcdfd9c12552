"""The processes of coordinator.py: agents of a ring on the peer engine, and over paho as one would use it by hand."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
import torch

from edgekit.coordinator.mail import Mail
from edgekit.coordinator.patience import Deadlines
from edgekit.coordinator.peer_engine import PeerEngine
from edgekit.decentralized.algorithms.d_psgd import DPSGD
from edgekit.decentralized.layout import Layout
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.solo import Solo
from edgekit.decentralized.topologies.ring import Ring
from edgekit.wire.address import Address
from edgekit.wire.mqtt import MqttTransport
from tests.benchmarks.wire_agents import PahoAgent

BATCH = 32


@dataclass(frozen=True)
class Work:
    """One agent of a ring.

    size: parameters, where there are no gradients; cnn: the 28,938-parameter network with gradients instead.
    """

    url: str
    run: str
    number: int
    agents: int
    size: int
    cnn: bool
    chunk: int
    rounds: int
    segments: int


class Still:
    """An objective without gradients: what is measured is the exchange alone."""

    def __init__(self, size: int) -> None:
        self.layout, self.buffers = Layout.flat(size), {}

    def weight(self, agent: int) -> float:
        """One sample."""
        return 1.0

    def gradient(self, x: Any, agents: Any, draws: Any, out: Any) -> torch.Tensor:
        """None."""
        out.zero_()
        return torch.zeros(len(x))

    def descend(self, x: Any, onto: Any, agents: Any, draws: Any, lr: float) -> torch.Tensor:
        """Nothing moves."""
        return torch.zeros(len(x))


def network() -> Any:
    """The network of 28,938 parameters, on samples that are drawn."""
    from edgekit.decentralized.model_objective import ModelObjective
    from edgekit.decentralized.sampler import Sampler
    from edgekit.decentralized.samples import Samples

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 32, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(1568, 10),
    )
    x, y = torch.randn(512, 1, 28, 28), torch.randint(0, 10, (512,))
    sampler = Sampler({agent: np.arange(512) for agent in range(64)}, BATCH, 0)
    loss = torch.nn.functional.cross_entropy
    objective = ModelObjective(model, loss, Samples(x, y), sampler)
    return objective, objective.layout.pack(dict(model.named_parameters())).detach().unsqueeze(0)


def work(task: Work, barrier: Barrier, results: Connection) -> None:
    """Segments in turns; [segments] of {side: (wall seconds, CPU seconds)} a round come out of `results`.

    averaging: paho's round, and what an agent does in one with messages that are there; that is no communication.
    """
    torch.set_num_threads(1)
    if task.cnn:
        objective, row = network()
    else:
        objective, row = Still(task.size), torch.randn(1, task.size)
    engine, mail = _engine(task, objective, row)
    hears = [f"a{(task.number + step) % task.agents}" for step in (-1, 1)]
    paho = PahoAgent(task.url, task.run, f"a{task.number}", hears)
    payload = bytes(4 * row.shape[1])
    chunks = [payload[at : at + task.chunk] for at in range(0, len(payload), task.chunk)]
    exchange, average = Exchange(paho, chunks, hears), Averaging(task, objective, row)
    barrier.wait()
    engine.enter(1, Roster.of(task.agents), mail_ids(task), mail.numbers)
    done = []
    for _ in range(task.segments):
        took = {}
        took["edgekit"] = _timed(task.rounds, barrier, engine.round)
        took["paho"] = _timed(task.rounds, barrier, exchange)
        took["averaging"] = _timed(task.rounds, barrier, lambda: (exchange(), average()))
        if task.cnn:
            took["gradient"] = _timed(task.rounds, barrier, lambda: _gradient(objective, row))
        done.append(took)
    waited = engine.report.payload_bytes, mail.sent
    barrier.wait()
    results.send((done, waited))
    mail.transport.close()
    paho.close()


def mail_ids(task: Work) -> tuple[str, ...]:
    """The ids of all agents."""
    return tuple(f"a{number}" for number in range(task.agents))


def _solo(task: Work, objective: Any, row: torch.Tensor) -> Solo:
    settings = Settings(optimizer=Sgd(lr=0.01), rounds=10**6, seed=0)
    return Solo(DPSGD(), Ring(), objective, row, settings, Roster.of(task.agents), task.number)


def _engine(task: Work, objective: Any, row: torch.Tensor) -> tuple[PeerEngine, Mail]:
    solo = _solo(task, objective, row)
    transport = MqttTransport(Address.parse(task.url), task.run, f"a{task.number}")
    mail = Mail(transport, task.run, None)
    mail.bound(2 * row.nbytes + 4096, task.agents)
    mail.numbers = dict(enumerate(mail_ids(task)))
    mail.open(b"lost")
    return PeerEngine(solo, mail, Deadlines()), mail


def _timed(rounds: int, barrier: Barrier, step: Any) -> tuple[float, float]:
    for _ in range(max(1, rounds // 10)):
        step()
    barrier.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        step()
    cpu = time.process_time() - cpu
    barrier.wait()
    return (time.perf_counter() - wall) / rounds, cpu / rounds


class Exchange:
    """Rounds over paho: one message to both neighbours, and one from each."""

    def __init__(self, agent: PahoAgent, chunks: list[bytes], hears: list[str]) -> None:
        self.agent, self.chunks, self.hears = agent, chunks, hears
        self.came: Counter[str] = Counter()
        self.rounds = 0

    def __call__(self) -> None:
        """One round."""
        self.rounds += 1
        for chunk in self.chunks:
            self.agent.send(chunk)
        while any(self.came[name] < self.rounds * len(self.chunks) for name in self.hears):
            self.came[self.agent.receive()] += 1


class Averaging:
    """Rounds of one agent alone: it codes its row, and decodes and averages rows of its neighbours; no gradient."""

    def __init__(self, task: Work, objective: Any, row: torch.Tensor) -> None:
        still = Still(row.shape[1]) if not task.cnn else _without_gradients(objective)
        self.solo = _solo(task, still, row.clone())
        self.message = np.frombuffer(row.numpy().tobytes(), np.uint8).copy().data

    def __call__(self) -> None:
        """One round."""
        stage = self.solo.round()
        phase = next(stage)
        try:
            while True:
                phase = stage.send(dict.fromkeys(phase.expected, self.message))
        except StopIteration:
            return


def _without_gradients(objective: Any) -> Still:
    still = Still(objective.layout.size)
    still.layout = objective.layout
    return still


def _gradient(objective: Any, row: torch.Tensor) -> None:
    objective.descend(row.clone(), row.clone(), [0], [0], 0.0)
