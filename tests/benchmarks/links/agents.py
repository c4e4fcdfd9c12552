"""The processes at the ends of slow links: agents of a ring and of a parameter server, and that server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

import numpy as np
import torch

from edgekit.coordinator.mail import Letter, Mail
from edgekit.coordinator.patience import Deadlines
from edgekit.coordinator.peer_engine import PeerEngine
from edgekit.decentralized.algorithms.d_psgd import DPSGD
from edgekit.decentralized.optimizers import Sgd
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.settings import Settings
from edgekit.decentralized.solo import Solo
from edgekit.decentralized.topologies.ring import Ring
from edgekit.wire.address import Address
from edgekit.wire.frame import Head, Kind
from edgekit.wire.mqtt import MqttTransport
from tests.benchmarks.coordinator_agents import Still
from tests.benchmarks.links.namespaces import enter

PATIENCE: Final = 60.0  # seconds
PROBE: Final = 4 << 20  # bytes


@dataclass(frozen=True)
class Place:
    """Who lives where: agents 0 to `agents` - 1, and the server as number `agents`; `size` float32 are a model."""

    namespace: str
    url: str
    number: int
    agents: int
    size: int
    chunk: int
    window: int

    @property
    def me(self) -> str:
        """The id."""
        return self.id_of(self.number)

    def id_of(self, number: int) -> str:
        """The id of an agent, or of the server."""
        return "server" if number == self.agents else f"a{number}"

    def mail(self, run: str) -> Mail:
        """Open mail in a run."""
        address = Address.parse(self.url)
        transport = MqttTransport(
            address, run, self.me, insecure=True, largest=self.chunk, window=self.window
        )
        mail = Mail(transport, run, None)
        mail.bound(8 * self.size + 4096, self.agents)
        mail.numbers = {number: self.id_of(number) for number in range(self.agents + 1)}
        mail.open(b"lost")
        return mail


@dataclass
class Took:
    """Rounds at one place: when it was through with each, the start first; what the peer engine had to do."""

    when: list[float] = field(default_factory=list)
    asked: int = 0
    missed: int = 0
    late: int = 0
    bytes: int = 0
    payload: int = 0
    cpu: float = 0.0


def live(place: Place, orders: Connection) -> None:
    """Do what is ordered: (what, values..., the time at which all begin); what came of it goes back."""
    enter(place.namespace)
    torch.set_num_threads(1)
    member = Server(place) if place.number == place.agents else Member(place)
    orders.send("here")
    while True:
        while not orders.poll():
            member.idle()
        what, *values, begin = orders.recv()
        if what == "end":
            break
        time.sleep(max(0.0, begin - time.monotonic()))
        cpu = time.process_time()
        found = getattr(member, what)(*values)
        if isinstance(found, Took):
            found.cpu = time.process_time() - cpu
        orders.send(found)
    member.close()


class Member:
    """An agent: rounds of D-PSGD on a ring, and steps with a parameter server, over one link."""

    def __init__(self, place: Place) -> None:
        self.place = place
        row = torch.randn(1, place.size, generator=torch.Generator().manual_seed(place.number))
        roster = Roster.of(place.agents)
        settings = Settings(optimizer=Sgd(lr=0.01), rounds=10**6, seed=0)
        solo = Solo(DPSGD(), Ring(), Still(place.size), row, settings, roster, place.number)
        self._engine = PeerEngine(solo, place.mail("ring"), Deadlines())
        ids = tuple(place.id_of(number) for number in range(place.agents))
        self._engine.enter(1, roster, ids, self._engine.mail.numbers)
        self._mail, self._steps = place.mail("server"), 0
        self._mail.listen([place.id_of(place.agents)])
        self._payload = row.numpy().tobytes()

    def idle(self) -> None:
        """Answer who asks."""
        self._engine.listen(0.02)

    def probe(self) -> tuple[float, float]:
        """(seconds to oneself and back, Mbit/s on that way): the broker sends a frame on once it has all of it."""
        trip, frame = min(self._echo(1, b"x") for _ in range(3)), bytes(self.place.chunk)
        count = max(2, PROBE // len(frame))
        return trip, 8e-6 * len(frame) * (count + 1) / (self._echo(count, frame) - trip)

    def ring(self, rounds: int) -> Took:
        """Rounds of the peer engine."""
        took = Took([time.monotonic()])
        for _ in range(rounds):
            report = self._engine.round()
            took.when.append(time.monotonic())
            took.asked += report.asked
            took.missed += len(report.missed)
            took.late += report.late
            took.bytes += report.frame_bytes
            took.payload = report.payload_bytes // max(1, report.messages)
        return took

    def server(self, rounds: int) -> Took:
        """Send the model to the server, and have its mean back."""
        took, sent = Took([time.monotonic()], payload=len(self._payload)), self._mail.sent
        for _ in range(rounds):
            head = Head(Kind.DATA, run=self._mail.run, round=self._steps, sender=self.place.number)
            self._mail.send(self._mail.frames(head, self._payload), self.place.id_of(self.place.agents))
            self._payload = _letter(self._mail, self._steps).payload
            self._steps += 1
            took.when.append(time.monotonic())
        took.bytes = self._mail.sent - sent
        return took

    def close(self) -> None:
        """Leave."""
        self._engine.mail.transport.close()
        self._mail.transport.close()

    def _echo(self, count: int, frame: bytes) -> float:
        began = time.monotonic()
        for _ in range(count):
            self._mail.transport.send(frame, self.place.me)
        for _ in range(count):
            self._hear()
        return time.monotonic() - began

    def _hear(self) -> None:
        while (message := self._mail.transport.receive(PATIENCE)) is not None:
            if message.what == "frame" and message.sender == self.place.me:
                return
        raise TimeoutError(f"{self.place.me} does not hear itself")


class Server:
    """The parameter server: the mean of what all send, published once."""

    def __init__(self, place: Place) -> None:
        self.place, self._mail, self._steps = place, place.mail("server"), 0

    def idle(self) -> None:
        """Nothing for a while."""
        time.sleep(0.02)

    def probe(self) -> None:
        """Nothing: it is linked as the others are."""

    def ring(self, rounds: int) -> None:
        """A ring has no server."""

    def server(self, rounds: int) -> Took:
        """Average and publish."""
        took, sent = Took([time.monotonic()]), self._mail.sent
        for _ in range(rounds):
            total = np.zeros(self.place.size, np.float32)
            for _ in range(self.place.agents):
                total += np.frombuffer(_letter(self._mail, self._steps).payload, np.float32)
            total /= self.place.agents
            head = Head(Kind.DATA, run=self._mail.run, round=self._steps, sender=self.place.number)
            self._mail.send(self._mail.frames(head, total.tobytes()), None)
            self._steps += 1
            took.when.append(time.monotonic())
        took.bytes = self._mail.sent - sent
        return took

    def close(self) -> None:
        """Leave."""
        self._mail.transport.close()


def _letter(mail: Mail, step: int) -> Letter:
    """The next model of a step."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        item = mail.receive(1.0)
        if isinstance(item, Letter) and item.head.round == step:
            return item
    raise TimeoutError(f"nothing more of step {step} came")
