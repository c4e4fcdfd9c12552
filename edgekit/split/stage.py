"""One agent's segments in a pipeline of requests: a segment runs as soon as all that it takes is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from edgekit.split.network import Network
from edgekit.split.placement import DATA, Placement
from edgekit.split.segment import Segment

MOST = 1024  # requests of which something is there


@dataclass(frozen=True)
class Value:
    """A tensor of a request on its way to another agent."""

    to: str
    name: str
    request: int
    tensor: torch.Tensor


class Stage:
    """The segments of agent `me`, without memory between requests.

    result_to: who is given the network's output. The oldest request goes first, and of it the first segment.
    """

    def __init__(
        self, me: str, network: Network, segments: Sequence[Segment], placement: Placement, result_to: str
    ) -> None:
        self.me, self.network, self.placement, self.result_to = me, network, placement, result_to
        self.own = [segment.eval() for segment in segments if placement.on[segment.index] == me]
        self._all = list(segments)
        self._values: dict[int, dict[str, torch.Tensor]] = {}
        self._run: dict[int, set[int]] = {}

    def give(self, request: int, inputs: dict[str, torch.Tensor]) -> list[Value]:
        """A new request at who holds the data: what goes to others of it."""
        found = []
        for name, tensor in inputs.items():
            using = [segment.index for segment in self._all if name in segment.takes]
            agents = dict.fromkeys(self.placement.on[index] for index in using)
            found += [Value(agent, name, request, tensor) for agent in agents if agent != self.me]
            self._keep(request, name, tensor)
        return found + self._computed(request)

    def take(self, request: int, name: str, tensor: torch.Tensor) -> list[Value]:
        """A value from another agent: what goes to others because of it."""
        self._keep(request, name, tensor)
        return self._computed(request)

    def result(self, request: int) -> torch.Tensor | None:
        """The network's output, once, where it was made here or came here."""
        values = self._values.get(request, {})
        found = values.pop(self.network.output, None)
        if found is not None:
            self.forget(request)
        return found

    def forget(self, request: int) -> None:
        """Drop what is there of a request."""
        self._values.pop(request, None)
        self._run.pop(request, None)

    def shape(self, name: str, batch: int) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape and dtype of a value."""
        value = self.network.values[name]
        return (batch, *value.shape), value.dtype

    def _keep(self, request: int, name: str, tensor: torch.Tensor) -> None:
        self._values.setdefault(request, {})[name] = tensor
        while len(self._values) > MOST:  # of requests that never came to their end
            self.forget(next(iter(self._values)))

    def _computed(self, request: int) -> list[Value]:
        values, run = self._values[request], self._run.setdefault(request, set())
        found = []
        for segment in self.own:
            if segment.index in run or not all(name in values for name in segment.takes):
                continue
            with torch.inference_mode():
                made = segment({name: values[name] for name in segment.takes})
            run.add(segment.index)
            for name, tensor in made.items():
                values[name] = tensor
                agents = [self.placement.on[user] for user in segment.ports.users[name]]
                if name == self.network.output:
                    agents.append(self.result_to)
                found += [
                    Value(agent, name, request, tensor) for agent in dict.fromkeys(agents) if agent != self.me
                ]
        if len(run) == len(self.own) and self.me != self.result_to:
            self.forget(request)
        return found


def crossing(
    network: Network, segments: Sequence[Segment], placement: Placement, result_to: str
) -> list[str]:
    """Names of the values that go from one agent to another, in the order of computation."""
    found: dict[str, None] = {}
    for segment in segments:
        here = placement.on[segment.index]
        for name in segment.takes:
            source = segment.ports.sources[name]
            owner = placement.holder(network, name) if source == DATA else placement.on[source]
            if owner != here:
                found[name] = None
    if placement.on[-1] != result_to:
        found[network.output] = None
    return list(found)
