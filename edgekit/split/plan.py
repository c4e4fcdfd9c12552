"""Where to cut: the cheapest way from the input to the output through the agents, by measured time and bytes.

A state is (operation, agent). Going on at the same agent costs the time of the operation there; going over to another
costs the bytes that cross by the link between them. The cheapest path is Dijkstra's; for throughput it is the one whose
slowest stage (an agent's work, or a link's) is fastest.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import torch
from torch import fx

from edgekit.errors import BadInput
from edgekit.split.network import Network

Aim = Literal["latency", "throughput", "energy"]
_Label = tuple[float, int, int, str, tuple[tuple[str, int, int], ...]]
REPEATS = 7


@dataclass(frozen=True)
class Link:
    """From one agent to another: bandwidth_mbps, latency_ms one way, and joules a byte where they are known.

    handling_ms, handling_ms_per_mb: of a message and of each of its 10^6 bytes beside the link, at both ends and in the
    broker between them.
    """

    bandwidth_mbps: float
    latency_ms: float = 0.0
    joules_per_byte: float | None = None
    handling_ms: float = 0.0
    handling_ms_per_mb: float = 0.0

    def seconds(self, size: float) -> float:
        """Of so many bytes, in one message."""
        handling = self.handling_ms / 1000 + self.handling_ms_per_mb * size * 1e-9
        return handling + self.latency_ms / 1000 + size * 8 / (self.bandwidth_mbps * 1e6)


@dataclass(frozen=True)
class Device:
    """An agent: seconds of each operation there (in the network's order), and watts while it works, where known."""

    name: str
    seconds: tuple[float, ...]
    watts: float | None = None

    @classmethod
    def scaled(cls, name: str, seconds: Sequence[float], speed: float, watts: float | None = None) -> Device:
        """As another device, `speed` times as fast."""
        return cls(name, tuple(value / speed for value in seconds), watts)


@dataclass(frozen=True)
class Stage:
    """Operations `start` to `stop` (exclusive) at one agent, and what leaves it then, in bytes of one batch."""

    agent: str
    start: int
    stop: int
    seconds: float
    bytes: float
    transfer: float


@dataclass(frozen=True)
class Plan:
    """A way through the agents: latency, s; the slowest stage or transfer, s; joules, None where they are not known."""

    stages: tuple[Stage, ...]
    cuts: tuple[str, ...]
    latency: float
    slowest: float
    joules: float | None

    @property
    def agents(self) -> tuple[str, ...]:
        """The agent of each segment."""
        return tuple(stage.agent for stage in self.stages)

    def cost(self, aim: Aim) -> float:
        """What is to be small."""
        if aim == "energy":
            return math.inf if self.joules is None else self.joules
        return self.latency if aim == "latency" else self.slowest


def measure(network: Network, batch: int = 1, *, repeats: int = REPEATS, seed: int = 0) -> list[float]:
    """Seconds of every operation on this machine on random inputs: the median of several runs."""
    timer = _Timer(network.traced)
    chance = torch.Generator().manual_seed(seed)
    inputs = []
    for name in network.inputs:
        value = network.values[name]
        tensor = torch.zeros(batch, *value.shape, dtype=value.dtype)
        inputs.append(tensor.normal_(generator=chance) if value.dtype.is_floating_point else tensor)
    mode = network.traced.training
    network.traced.eval()
    with torch.inference_mode():
        for _ in range(repeats + 2):
            timer.run(*inputs)
    network.traced.train(mode)
    return [median(timer.runs[node.name][2:]) for node in network.order]


@dataclass(frozen=True)
class Ends:
    """Where a batch starts, and where its result is wanted (None: where it is made).

    shrink: what a codec leaves of bytes; inputs_leave: whether the first segment may be elsewhere than the input.
    """

    source: str
    sink: str | None = None
    batch: int = 1
    shrink: float = 1.0
    inputs_leave: bool = False


def plan(
    network: Network,
    devices: Sequence[Device],
    links: Mapping[tuple[str, str], Link],
    ends: Ends,
    *,
    aim: Aim = "latency",
    cuts: int | None = None,
) -> Plan:
    """The best way with at most so many cuts; BadInput where there is none."""
    most = len(network.cuts) + 1 if cuts is None else cuts + 1
    best = min(
        _ways(network, devices, links, ends, aim, most), key=lambda found: found.cost(aim), default=None
    )
    if best is None or best.cost(aim) == math.inf:
        missing = "no link leads on"
        if aim == "energy":
            missing = "watts and joules_per_byte are not known of every device and link"
        raise BadInput(f"split plan: there is no way from {ends.source}: {missing}.")
    return best


def table(
    network: Network, devices: Sequence[Device], links: Mapping[tuple[str, str], Link], ends: Ends
) -> list[Plan]:
    """Each device alone, and every single cut between every two."""
    last = len(network.order)
    found = [_priced(network, [(device, 0, last)], links, ends) for device in devices]
    for first, second in itertools.permutations(devices, 2):
        for cut in network.cuts:
            parts = [(first, 0, cut.position + 1), (second, cut.position + 1, last)]
            found.append(_priced(network, parts, links, ends))
    return [one for one in found if one is not None]


class _Timer(fx.Interpreter):
    """Runs a graph and keeps the time of every operation."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.runs: dict[str, list[float]] = {}

    def run_node(self, n: fx.Node) -> object:
        """One operation, timed."""
        start = time.perf_counter()
        result = super().run_node(n)
        self.runs.setdefault(n.name, []).append(time.perf_counter() - start)
        return result


def _ways(
    network: Network,
    devices: Sequence[Device],
    links: Mapping[tuple[str, str], Link],
    ends: Ends,
    aim: Aim,
    most: int,
) -> Iterator[Plan]:
    """Ways from the first operation to the last, the cheapest of each state: Dijkstra over (cut, agent, segments).

    For throughput each agent has one segment: two would share its time.
    """
    places = [-1, *(cut.position for cut in network.cuts), len(network.order) - 1]
    by_name = {device.name: device for device in devices}
    count = itertools.count()
    queue: list[_Label] = [(0.0, next(count), 0, name, ()) for name in by_name]
    seen: dict[tuple[int, str, int, frozenset[str]], float] = {}
    while queue:
        cost, _, index, name, parts = heapq.heappop(queue)
        used = frozenset(agent for agent, _, _ in parts) if aim == "throughput" else frozenset()
        state = (index, name, len(parts), used)
        if seen.get(state, math.inf) <= cost or len(parts) >= most or name in used:
            continue
        seen[state] = cost
        for after in range(index + 1, len(places)):
            grown = (*parts, (name, places[index] + 1, places[after] + 1))
            made = [(by_name[agent], start, stop) for agent, start, stop in grown]
            if after == len(places) - 1:
                found = _priced(network, made, links, ends)
                if found is not None:
                    yield found
                continue
            for follower in by_name:
                if follower != name:
                    priced = _priced(network, made, links, replace(ends, sink=follower))
                    if priced is not None:
                        heapq.heappush(queue, (priced.cost(aim), next(count), after, follower, grown))


def _priced(
    network: Network,
    parts: Sequence[tuple[Device, int, int]],
    links: Mapping[tuple[str, str], Link],
    ends: Ends,
) -> Plan | None:
    """The figures of a way; None where a link is missing."""
    cuts = {cut.position: cut for cut in network.cuts}
    whole = sum(network.values[name].bytes for name in network.inputs) * ends.batch
    carried = _carried(links, ends.source, parts[0][0].name, whole)
    if carried is None or not (ends.inputs_leave or parts[0][0].name == ends.source):
        return None
    (latency, joules), slowest = carried, carried[0]
    stages = []
    for index, (device, start, stop) in enumerate(parts):
        work = sum(device.seconds[start:stop])
        following = parts[index + 1][0].name if index + 1 < len(parts) else ends.sink
        cut = cuts.get(stop - 1)
        out = network.values[network.output].bytes if cut is None else cut.bytes * ends.shrink
        size = out * ends.batch if following not in (None, device.name) else 0.0
        carried = _carried(links, device.name, following, size)
        if carried is None:
            return None
        latency += work + carried[0]
        slowest = max(slowest, work, carried[0])
        joules = _plus(_plus(joules, None if device.watts is None else device.watts * work), carried[1])
        stages.append(Stage(device.name, start, stop, work, size, carried[0]))
    names = tuple(cuts[stop - 1].name for _, _, stop in parts[:-1])
    return Plan(tuple(stages), names, latency, slowest, joules)


def _carried(
    links: Mapping[tuple[str, str], Link], sender: str, receiver: str | None, size: float
) -> tuple[float, float | None] | None:
    if receiver is None or receiver == sender:
        return 0.0, 0.0
    link = links.get((sender, receiver))
    if link is None:
        return None
    return link.seconds(size), None if link.joules_per_byte is None else link.joules_per_byte * size


def _plus(total: float | None, more: float | None) -> float | None:
    return None if total is None or more is None else total + more
