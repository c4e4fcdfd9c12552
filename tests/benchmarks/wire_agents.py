"""The processes of wire.py: agents over the transport, and over paho as one would use it by hand."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from queue import SimpleQueue
from typing import Any, Protocol

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.wire.address import Address
from edgekit.wire.mqtt import MqttTransport

PATIENCE = 60.0  # seconds


class Agent(Protocol):
    """What a measurement asks of a side."""

    def send(self, payload: bytes) -> None:
        """A frame to all who listen."""

    def receive(self) -> tuple[str, bytes]:
        """The next frame and its sender."""

    def close(self) -> None:
        """Leave."""


class EdgekitAgent:
    """The transport."""

    def __init__(self, url: str, run: str, me: str, hears: Sequence[str], largest: int) -> None:
        self.transport = MqttTransport(Address.parse(url), run, me, largest=largest)
        self.transport.open(b"lost")
        self.transport.listen(hears)

    def send(self, payload: bytes) -> None:
        """A frame to all who listen."""
        self.transport.send(payload)

    def receive(self) -> tuple[str, bytes]:
        """The next frame and its sender."""
        while (message := self.transport.receive(PATIENCE)) is None or message.what != "frame":
            if message is None:
                raise TimeoutError
        return message.sender, message.payload

    def close(self) -> None:
        """Leave."""
        self.transport.close()


class PahoAgent:
    """A client with its own thread, a queue for what comes in, quality 1, and packets that are sent at once."""

    def __init__(self, url: str, run: str, me: str, hears: Sequence[str], largest: int) -> None:
        address = Address.parse(url)
        self.topic, self.queue = f"bare/{run}/{me}", SimpleQueue[tuple[str, bytes]]()
        subscribed: SimpleQueue[int] = SimpleQueue()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_socket_open = _send_at_once
        self.client.on_message = lambda _, __, message: self.queue.put((message.topic, message.payload))
        self.client.on_subscribe = lambda *_: subscribed.put(1)
        self.client.on_connect = lambda client, *_: client.subscribe(
            [(f"bare/{run}/{name}", 1) for name in hears] or [(f"bare/{run}/none", 1)]
        )
        self.client.connect(address.host, address.port)
        self.client.loop_start()
        subscribed.get(timeout=PATIENCE)

    def send(self, payload: bytes) -> None:
        """A frame to all who listen."""
        self.client.publish(self.topic, payload, 1)

    def receive(self) -> tuple[str, bytes]:
        """The next frame and its sender."""
        topic, payload = self.queue.get(timeout=PATIENCE)
        return topic.rpartition("/")[2], payload

    def close(self) -> None:
        """Leave."""
        self.client.disconnect()
        self.client.loop_stop()


SIDES = {"edgekit": EdgekitAgent, "paho": PahoAgent}


@dataclass(frozen=True)
class Work:
    """What an agent does in each segment: so many rounds of a message in `parts` frames, with the sides in turns."""

    url: str
    run: str
    me: str
    sends: bool
    hears: tuple[str, ...]
    size: int
    chunk: int
    rounds: int
    segments: int


def work(task: Work, barrier: Barrier, results: Connection) -> None:
    """Do it; [segments] of {side: (wall seconds, CPU seconds)} come out of `results`."""
    agents: dict[str, Agent] = {
        name: side(task.url, task.run, task.me, task.hears, task.chunk) for name, side in SIDES.items()
    }
    message = bytes(task.size)
    chunks = [message[at : at + task.chunk] for at in range(0, task.size, task.chunk)]
    done: list[dict[str, tuple[float, float]]] = []
    for segment in range(task.segments):
        order = list(SIDES) if segment % 2 else list(SIDES)[::-1]
        found = {}
        for name in order:
            barrier.wait(PATIENCE)
            found[name] = _segment(agents[name], task, chunks)
            barrier.wait(PATIENCE)
        done.append(found)
    results.send(done)
    barrier.wait(PATIENCE)
    for agent in agents.values():
        agent.close()


def _segment(agent: Agent, task: Work, chunks: list[bytes]) -> tuple[float, float]:
    """Rounds: send a message, and wait until one of each neighbour is there."""
    came: Counter[str] = Counter()
    wall, cpu = time.perf_counter(), time.process_time()
    for round in range(1, task.rounds + 1):
        if task.sends:
            for chunk in chunks:
                agent.send(chunk)
        while any(came[name] < round * len(chunks) for name in task.hears):
            came[agent.receive()[0]] += 1
    return time.perf_counter() - wall, time.process_time() - cpu


def _send_at_once(client: Client, _: Any, connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
