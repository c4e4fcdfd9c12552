"""The processes of a split network that answers requests: who asks, and who serves, over one broker."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from edgekit.coordinator.stream import StreamClient, StreamServer
from edgekit.coordinator.worker import Post
from edgekit.runs.split_file import parse_split
from edgekit.runs.split_run import SplitPart
from tests.benchmarks.links.namespaces import enter

WARM_UP = 3  # requests that do not count
HOP = """\
title: hop
model: {{"tests.benchmarks.split_agents:scales": {{layers: {agents}}}}}
data: fashion-mnist
input: [{values}]
split: {{cuts: [{cuts}], segments: [{names}], inputs: a, labels: a}}
"""


class Scale(nn.Module):
    """Its input times a number that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As many values as it is given."""
        return x * self.gain


def scales(*, layers: int = 3) -> nn.Module:
    """A network that does next to nothing, with the same bytes at every cut."""
    return nn.Sequential(*(Scale() for _ in range(layers)))


def hop_run(names: Sequence[str], values: int) -> str:
    """A run in which so many float32 go from agent to agent and back to the first."""
    cuts = ", ".join(f"'{layer}'" for layer in range(len(names) - 1))
    return HOP.format(agents=len(names), values=values, cuts=cuts, names=", ".join(names))


@dataclass(frozen=True)
class Place:
    """Where an agent is: its name, its broker's address, and its namespace, if it has one of its own."""

    me: str
    url: str
    namespace: str | None = None


@dataclass(frozen=True)
class Job:
    """A run file, the name of this inference, requests, and how often each agent computes every segment."""

    text: str
    name: str
    requests: int = 0
    slow: tuple[tuple[str, int], ...] = ()

    def part(self, me: str) -> SplitPart:
        """The run as `me` has it, its segments as slow as asked."""
        part = SplitPart(parse_split(self.text)[0], data=False)
        again = dict(self.slow).get(me, 1) - 1
        for segment in part.split.segments if again else ():
            segment.eval().register_forward_hook(lambda own, given, _: _repeat(own, given[0], again))
        return part


@dataclass(frozen=True)
class Answered:
    """Seconds of each request, and of its segments where they are computed one after the other in one process."""

    latencies: list[float]
    compute: float
    moves: int


def live(place: Place, asks: bool, orders: Connection) -> None:
    """Do each job that is ordered; what came of it goes back."""
    if place.namespace is not None:
        enter(place.namespace)
    torch.set_num_threads(1)
    orders.send("here")
    with tempfile.TemporaryDirectory() as keys, suppress(EOFError):
        post = Post(place.url, Path(keys), insecure=True)
        while (job := orders.recv()) is not None:
            part = job.part(place.me)
            access = post.access(job.name, place.me)
            if asks:
                orders.send(_asked(StreamClient(access, job.name, part, 1, window=1), part, job))
            else:
                orders.send("ready")
                StreamServer(access, job.name, part, 1).run(once=True)


class Agents:
    """Processes of one asker and some servers; the first place asks."""

    def __init__(self, places: list[Place]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []
        self._ends = [self._start(place, place is places[0]) for place in places]
        for end in self._ends:
            end.recv()

    def answer(self, job: Job) -> Answered:
        """Let all take part in an inference."""
        for end in self._ends[1:]:
            end.send(job)
        for end in self._ends[1:]:
            end.recv()
        self._ends[0].send(job)
        found: Answered = self._ends[0].recv()
        return found

    def close(self) -> None:
        """Let the processes end."""
        for end in self._ends:
            with suppress(OSError):
                end.send(None)
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self, place: Place, asks: bool) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=live, args=(place, asks, theirs), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        return ours


@contextmanager
def agents(places: list[Place]) -> Iterator[Agents]:
    """Processes that are gone in the end."""
    found = Agents(places)
    try:
        yield found
    finally:
        found.close()


def _asked(client: StreamClient, part: SplitPart, job: Job) -> Answered:
    (name,) = part.split.network.inputs
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(1, *part.split.network.values[name].shape, generator=chance)
    client.open()
    try:
        for _ in client.results({name: x} for _ in range(job.requests + WARM_UP)):
            pass
    finally:
        client.close()
    return Answered(client.latencies[WARM_UP:], _compute(part, {name: x}), client.moves)


def _compute(part: SplitPart, values: dict[str, torch.Tensor]) -> float:
    """Seconds of all segments, one after the other."""
    took = []
    with torch.inference_mode():
        for _ in range(21):
            known, began = dict(values), time.perf_counter()
            for segment in part.split.segments:
                known |= segment({taken: known[taken] for taken in segment.takes})
            took.append(time.perf_counter() - began)
    return median(took)


def _repeat(segment: Any, values: dict[str, torch.Tensor], times: int) -> None:
    for _ in range(times):
        segment.body(*(values[name] for name in segment.takes))
