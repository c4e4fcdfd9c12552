"""The processes of wire.py: agents over the transport, and over paho as one would use it by hand."""

from __future__ import annotations

import resource
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

PATIENCE = 120.0  # seconds


class Agent(Protocol):
    """What a measurement asks of a side."""

    def send(self, payload: bytes) -> None:
        """A frame to all who listen."""

    def receive(self) -> str:
        """Wait for a frame; its sender."""

    def close(self) -> None:
        """Leave."""


class EdgekitAgent:
    """The transport."""

    def __init__(self, url: str, run: str, me: str, hears: Sequence[str]) -> None:
        self.transport = MqttTransport(Address.parse(url), run, me, largest=1 << 20)
        self.transport.open(b"lost")
        self.transport.listen(hears)

    def send(self, payload: bytes) -> None:
        """A frame to all who listen."""
        if not self.transport.send(payload):
            raise ConnectionError(self.transport.trouble)

    def receive(self) -> str:
        """Wait for a frame; its sender."""
        while (message := self.transport.receive(PATIENCE)) is None or message.what != "frame":
            if message is None:
                raise TimeoutError
        return message.sender

    def close(self) -> None:
        """Leave."""
        self.transport.close()


class PahoAgent:
    """A client with its own thread, a queue for what comes in, quality 1, and packets that are sent at once."""

    def __init__(self, url: str, run: str, me: str, hears: Sequence[str]) -> None:
        address, subscribed = Address.parse(url), SimpleQueue[int]()
        self.topic, self.queue = f"bare/{run}/{me}", SimpleQueue[tuple[str, bytes]]()
        topics = [(f"bare/{run}/{name}", 1) for name in hears or ("no one",)]
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_socket_open = _send_at_once
        self.client.on_connect = lambda client, *_: client.subscribe(topics)
        self.client.on_subscribe = lambda *_: subscribed.put(1)
        self.client.on_message = lambda _, __, message: self.queue.put((message.topic, message.payload))
        self.client.connect(address.host, address.port)
        self.client.loop_start()
        subscribed.get(timeout=PATIENCE)

    def send(self, payload: bytes) -> None:
        """A frame to all who listen."""
        self.client.publish(self.topic, payload, 1)

    def receive(self) -> str:
        """Wait for a frame; its sender."""
        return self.queue.get(timeout=PATIENCE)[0].rpartition("/")[2]

    def close(self) -> None:
        """Leave."""
        self.client.disconnect()
        self.client.loop_stop()


SIDES = {"edgekit": EdgekitAgent, "paho": PahoAgent, "paho_whole": PahoAgent}


@dataclass(frozen=True)
class Work:
    """What an agent does in each segment, once for each side: rounds of a message of `size` bytes.

    chunks: by side, the bytes of a frame. An agent that sends does so in every round, and all wait in every round for
    a message of each whom they hear.
    """

    url: str
    run: str
    me: str
    sends: bool
    hears: tuple[str, ...]
    size: int
    chunks: tuple[tuple[str, int], ...]
    rounds: int
    segments: int


Seconds = tuple[float, float]  # wall, and CPU of all threads


def work(task: Work, barrier: Barrier, results: Connection) -> None:
    """Do it; [segments] of {side: Seconds} come out of `results`, after a segment of warm-up."""
    agents: dict[str, Agent] = {
        side: SIDES[side](task.url, task.run + side, task.me, task.hears) for side, _ in task.chunks
    }
    message, done = bytes(task.size), []
    for segment in range(task.segments + 1):
        found = {}
        for side, chunk in task.chunks[:: 1 if segment % 2 else -1]:
            frames = [message[at : at + chunk] for at in range(0, task.size, chunk)]
            barrier.wait(PATIENCE)
            found[side] = _segment(agents[side], task, frames)
            barrier.wait(PATIENCE)
        done.append(found)
    results.send((done[1:], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    for agent in agents.values():
        agent.close()


def _segment(agent: Agent, task: Work, frames: list[bytes]) -> Seconds:
    came: Counter[str] = Counter()
    wall, cpu = time.perf_counter(), time.process_time()
    for round in range(1, task.rounds + 1):
        if task.sends:
            for frame in frames:
                agent.send(frame)
        while any(came[name] < round * len(frames) for name in task.hears):
            came[agent.receive()] += 1
    return time.perf_counter() - wall, time.process_time() - cpu


def _send_at_once(client: Client, _: Any, connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
