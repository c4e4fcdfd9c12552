"""Inference through a split network with several requests under way, all agents in one process on a virtual clock."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch

from edgekit.split.network import Network
from edgekit.split.placement import Placement
from edgekit.split.segment import Segment, Tensors
from edgekit.split.simulate import Wires
from edgekit.split.stage import Stage, Value


@dataclass(frozen=True)
class Streamed:
    """The outputs in the order of the requests, and when each was asked and was there, in virtual seconds."""

    outputs: list[torch.Tensor]
    asked: list[float]
    finished: list[float]

    @property
    def requests_a_second(self) -> float:
        """Over all, the first one's whole way included."""
        return len(self.finished) / max(self.finished)


@dataclass
class _Agent:
    """Until when an agent works, until when its link is busy each way, and the work of what it does now."""

    stage: Stage
    free: float = 0.0
    out: float = 0.0
    into: float = 0.0
    spent: float = 0.0


@dataclass
class Pipeline:
    """A split network that answers the requests of who holds the data, each agent one thing at a time, as they arrive.

    work(agent, seconds): how long the measured work of a segment counts on that agent. Messages are as long as their
    tensors.
    """

    network: Network
    segments: Sequence[Segment]
    placement: Placement
    result_to: str
    wires: Wires | None = None
    work: Callable[[str, float], float] = lambda agent, seconds: seconds

    def run(self, requests: Sequence[Tensors], window: int = 8) -> Streamed:
        """Answer all requests, at most `window` of them under way; RuntimeError where one is never answered."""
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        parts, names = (self.network, self.segments, self.placement), {*self.placement.agents, self.result_to}
        self._agents = {name: _Agent(Stage(name, *parts, self.result_to)) for name in names}
        self._found: dict[int, tuple[float, torch.Tensor]] = {}
        self._asked: list[float] = []
        self._waiting, self._window, self._number = iter(requests), window, itertools.count()
        self._fill(0.0)
        with ExitStack() as hooks:
            for segment in self.segments:
                self._time(segment, hooks)
            while self._events:
                now, _, event = heapq.heappop(self._events)
                event(now)
        if missing := len(requests) - len(self._found):
            raise RuntimeError(f"{missing} requests were never answered")
        rows = [self._found[request] for request in range(len(requests))]
        return Streamed([output for _, output in rows], self._asked, [when for when, _ in rows])

    def _time(self, segment: Segment, hooks: ExitStack) -> None:
        """Add the work of a segment to its agent's, as long as the hooks stay."""
        name, began = self.placement.on[segment.index], list[float]()
        hooks.enter_context(segment.register_forward_pre_hook(lambda *_: began.append(time.perf_counter())))

        def stop(*_: object) -> None:
            self._agents[name].spent += self.work(name, time.perf_counter() - began.pop())

        hooks.enter_context(segment.register_forward_hook(stop))

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._number), event))

    def _fill(self, now: float) -> None:
        """Ask as many requests as may be under way."""
        while len(self._asked) - len(self._found) < self._window:
            inputs = next(self._waiting, None)
            if inputs is None:
                return
            request, stage = len(self._asked), self._agents[self.placement.inputs[0]].stage
            self._asked.append(now)
            self._at(now, partial(self._do, stage.me, request, partial(stage.give, request, inputs)))

    def _do(self, name: str, request: int, what: Callable[[], list[Value]], now: float) -> None:
        """Let an agent do something once it is free, and send what comes of it when it is through."""
        agent, self._agents[name].spent = self._agents[name], 0.0
        values = what()
        agent.free = max(agent.free, now) + agent.spent
        for value in values:
            self._at(agent.free, partial(self._send, name, value))
        if name == self.result_to and (output := agent.stage.result(request)) is not None:
            self._at(agent.free, partial(self._finish, request, output))

    def _send(self, name: str, value: Value, now: float) -> None:
        """Let a value arrive with its last byte, after what was sent before it on either link."""
        sender, receiver = self._agents[name], self._agents[value.to]
        if self.wires is not None:
            took = self.wires.seconds(value.tensor.nbytes)
            sender.out = max(sender.out, now) + took
            receiver.into = max(receiver.into + took, sender.out)
            now = receiver.into + self.wires.latency_ms / 1000
        take = partial(receiver.stage.take, value.request, value.name, value.tensor)
        self._at(now, partial(self._do, value.to, value.request, take))

    def _finish(self, request: int, output: torch.Tensor, now: float) -> None:
        self._found[request] = now, output
        self._fill(now)
