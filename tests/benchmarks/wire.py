"""The MQTT transport against paho by hand, over one broker in turns: wall time, CPU time, memory.

Run by hand: python tests/benchmarks/wire.py [--cases ring-2k ring-116k pair-1m stream-100m] [--broker embedded]

By hand means: a client with its own thread, TCP_NODELAY, quality 1, a queue for what comes in. Rings are 8 processes
that send a frame to both neighbours and wait for both; the pair exchanges 1 MB in chunks; the stream is 100 MB (25
million float32) from one process to another, in chunks and, by paho, as one message too. Asked: rounds, and CPU time of
agents, at most 1.25 times those by hand; the stream at least 0.8 times as fast.
"""

from __future__ import annotations

import multiprocessing
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, as_pair, parser
from wire_agents import Seconds, Work, work

from edgekit.broker.embedded import Embedded
from edgekit.broker.mosquitto import Mosquitto
from edgekit.broker.server import Server
from edgekit.profile.statistics import trimmed_interval
from edgekit.wire.address import Address
from edgekit.wire.mqtt import LARGEST, MqttTransport

ROUND, STREAM = 1.25, 1 / 0.8  # the most of what it takes by hand


@dataclass(frozen=True)
class Case:
    """Agents in a ring, or one that sends to another; a message of `size` bytes, `rounds` of them in a segment."""

    name: str
    agents: int
    size: int
    rounds: int
    segments: int = 15
    ring: bool = True
    sides: tuple[str, ...] = ("edgekit", "paho")
    most: float = ROUND

    def task(self, url: str, run: str, number: int) -> Work:
        """What the agent of a number does."""
        around = {(number + step) % self.agents for step in (-1, 1)} if self.ring else {0} - {number}
        chunks = tuple(
            (side, max(1, self.size) if side == "paho_whole" else min(LARGEST, self.size))
            for side in self.sides
        )
        hears = tuple(f"agent-{other}" for other in sorted(around))
        sends = self.ring or number == 0
        return Work(url, run, f"agent-{number}", sends, hears, self.size, chunks, self.rounds, self.segments)


CASES = (
    Case("ring-2k", 8, 2_048, 200),
    Case("ring-116k", 8, 115_752, 60),
    Case("pair-1m", 2, 1_000_000, 30),
    Case("stream-100m", 2, 100_000_000, 1, 9, False, ("edgekit", "paho", "paho_whole"), STREAM),
)
SMOKE = Case("ring-2k", 3, 2_048, 5, segments=6)


@dataclass(frozen=True)
class Seen:
    """Seconds of one side: wall [segments] until the last agent is done, CPU [segments] of all agents together."""

    wall: np.ndarray
    cpu: np.ndarray


def play(case: Case, url: str) -> tuple[dict[str, Seen], int]:
    """What each side took, and the most memory of an agent in bytes."""
    context = multiprocessing.get_context("spawn")
    barrier, run = context.Barrier(case.agents), f"run-{secrets.token_hex(4)}-"
    ends, agents = [], []
    for number in range(case.agents):
        end, other = context.Pipe()
        agents.append(context.Process(target=work, args=(case.task(url, run, number), barrier, other)))
        agents[-1].start()
        other.close()
        ends.append(end)
    results = [end.recv() for end in ends]
    for agent in agents:
        agent.join()
    times: list[Sequence[dict[str, Seconds]]] = [done for done, _ in results]
    return {side: _seen(side, times) for side in case.sides}, 1024 * max(memory for _, memory in results)


def _seen(side: str, times: list[Sequence[dict[str, Seconds]]]) -> Seen:
    both = np.array([[segment[side] for segment in done] for done in times])  # [agents, segments, 2]
    return Seen(both[..., 0].max(axis=0), both[..., 1].sum(axis=0))


def measure(case: Case, url: str, cases: Cases, *, smoke: bool) -> None:
    """Run one case, and say what it took."""
    seen, memory = play(case, url)
    ours, bare = seen["edgekit"], seen["paho"]
    wall, cpu = trimmed_interval(ours.wall / bare.wall), trimmed_interval(ours.cpu / bare.cpu)
    figures: dict[str, Any] = {"wall_over_paho": as_pair(wall), "cpu_over_paho": as_pair(cpu)}
    if "paho_whole" in seen:
        figures["wall_over_whole"] = as_pair(trimmed_interval(ours.wall / seen["paho_whole"].wall))
    for side, one in seen.items():
        figures[f"{side}_ms"] = round(1e3 * float(np.median(one.wall)) / case.rounds, 3)
        figures[f"{side}_cpu_ms"] = round(1e3 * float(np.median(one.cpu)) / case.rounds / case.agents, 3)
    cases.add(
        case.name,
        met=None if smoke else bool(wall.value <= case.most and (not case.ring or cpu.value <= case.most)),
        asked=f"<= {case.most:g} of paho's",
        agents=case.agents,
        bytes=case.size,
        memory_mb=round(memory / 1e6),
        link=f"{link_of(url)}, paho {version('paho-mqtt')}",
        **figures,
    )


def link_of(url: str) -> str:
    """What the broker says of itself."""
    transport = MqttTransport(Address.parse(url), "run", "asks")
    try:
        return transport.open(b"").broker
    finally:
        transport.close()


def broker_of(name: str) -> Server:
    """A started broker."""
    return Embedded().start() if name == "embedded" else Mosquitto().start()


def main() -> int:
    """Run the cases; 1 where one misses what is asked."""
    options = parser(__doc__, smoke="3 agents in a ring, 2 kB")
    names = [case.name for case in CASES]
    options.add_argument("--cases", nargs="+", default=names, choices=names)
    options.add_argument("--broker", default="mosquitto", choices=("mosquitto", "embedded"))
    chosen = options.parse_args()
    cases, broker = Cases("wire", chosen.seed), broker_of(chosen.broker)
    try:
        for case in (SMOKE,) if chosen.smoke else CASES:
            if case.name in chosen.cases:
                measure(case, broker.url, cases, smoke=chosen.smoke)
    finally:
        broker.stop()
    return cases.finish(
        ["edgekit_ms", "paho_ms", "wall_over_paho", "edgekit_cpu_ms", "paho_cpu_ms", "cpu_over_paho"]
    )


if __name__ == "__main__":
    sys.exit(main())
