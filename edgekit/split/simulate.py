"""All agents of a split network in one process, on a virtual clock: messages take time by latency and bandwidth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from edgekit.split.message import Done, Key, Receive, Send, Steps
from edgekit.split.post import Post


@dataclass(frozen=True)
class Wires:
    """Every agent's link to the others: bandwidth_mbps both ways at once, latency_ms one way."""

    bandwidth_mbps: float = 1000.0
    latency_ms: float = 0.0

    def seconds(self, size: int) -> float:
        """Of one message on one link, without the latency."""
        return size * 8 / (self.bandwidth_mbps * 1e6)


@dataclass
class Agent:
    """One agent's program under way, its codecs, and its clock.

    clock: virtual seconds of work; out, into: until when its link is busy each way.
    """

    name: str
    steps: Steps
    post: Post
    clock: float = 0.0
    out: float = 0.0
    into: float = 0.0
    busy: float = 0.0
    waits: Receive | None = None
    ended: bool = False
    result: object = None


@dataclass
class Simulator:
    """Runs programs until all have ended or all wait.

    work(agent, seconds): how long measured work counts on that agent; seen(sender, receiver, key, payload): every
    message that crosses a link.
    """

    posts: Mapping[str, Post]
    wires: Wires | None = None
    work: Callable[[str, float], float] = lambda agent, seconds: seconds
    seen: Callable[[str, str, Key, bytes], None] = lambda sender, receiver, key, payload: None
    bytes: dict[str, int] = field(default_factory=dict)
    messages: int = 0

    def run(self, programs: Mapping[str, Steps]) -> Iterator[tuple[str, Done]]:
        """What each agent has done, as it comes; RuntimeError where all wait for what nobody sends."""
        self.agents = {name: Agent(name, steps, self.posts[name]) for name, steps in programs.items()}
        self._mail: dict[tuple[str, str, Key], tuple[float, bytes]] = {}
        while any(not agent.ended for agent in self.agents.values()):
            moved = False
            for agent in self.agents.values():
                if not agent.ended and self._ready(agent):
                    moved = True
                    yield from self._advance(agent)
            if not moved:
                stuck = [f"{one.name} waits for {one.waits}" for one in self.agents.values() if not one.ended]
                raise RuntimeError("; ".join(stuck))

    @property
    def seconds(self) -> float:
        """The latest clock."""
        return max((agent.clock for agent in self.agents.values()), default=0.0)

    def _ready(self, agent: Agent) -> bool:
        wanted = agent.waits
        return wanted is None or (wanted.sender, agent.name, wanted.key) in self._mail

    def _advance(self, agent: Agent) -> Iterator[tuple[str, Done]]:
        value = self._received(agent)
        while True:
            start = time.perf_counter()
            try:
                item = agent.steps.send(value)
            except StopIteration as end:
                agent.ended, agent.result = True, end.value
                return
            finally:
                spent = self.work(agent.name, time.perf_counter() - start)
                agent.clock += spent
                agent.busy += spent
            value = None
            if isinstance(item, Send):
                self._send(agent, item)
            elif isinstance(item, Done):
                yield agent.name, item
            else:
                agent.waits = item
                if not self._ready(agent):
                    return
                value = self._received(agent)

    def _received(self, agent: Agent) -> torch.Tensor | None:
        wanted, agent.waits = agent.waits, None
        if wanted is None:
            return None
        arrival, payload = self._mail.pop((wanted.sender, agent.name, wanted.key))
        agent.clock = max(agent.clock, arrival)
        return agent.post.unpack(wanted.key, payload, wanted.shape, wanted.dtype)

    def _send(self, agent: Agent, item: Send) -> None:
        payload = agent.post.pack(item.key, item.tensor)
        self.bytes[agent.name] = self.bytes.get(agent.name, 0) + len(payload)
        self.messages += 1
        self.seen(agent.name, item.to, item.key, payload)
        self._mail[agent.name, item.to, item.key] = (
            self._arrival(agent, self.agents[item.to], len(payload)),
            payload,
        )

    def _arrival(self, sender: Agent, receiver: Agent, size: int) -> float:
        """When the last byte is there: after what was sent before it on either link."""
        if self.wires is None:
            return sender.clock
        took = self.wires.seconds(size)
        sender.out = max(sender.out, sender.clock) + took
        receiver.into = max(receiver.into + took, sender.out)
        return receiver.into + self.wires.latency_ms / 1000
