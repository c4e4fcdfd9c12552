"""Slow links: a ring of agents beside a parameter server, and beside what the virtual clock predicts of both.

Run by hand, as root: python tests/benchmarks/slow_links.py [--segments 5] [--chunk BYTES] [--window BYTES]

Every agent and the server live in network namespaces of their own, each joined to the broker's by a link of 100 Mbit/s
both ways (tc tbf) and 25 ms each way (the relay of tests/wire/slow_relay.py). All exchange models of 262,144 float32
without computing anything: D-PSGD on a ring over the peer engine, and a parameter server that hears all, and publishes
the mean once. Asked: a ring of 8 at least 2.5 times as fast a step, both predicted within 20 %; and the ring goes on
through jitter, a stall and a reset.
"""

from __future__ import annotations

import multiprocessing
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, as_pair, parser

from edgekit.broker.mosquitto import find_mosquitto
from edgekit.decentralized.graph import Graph
from edgekit.decentralized.ledger import Ledger
from edgekit.decentralized.links import Links, VirtualClock
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.ring import Ring
from edgekit.errors import BadInput
from edgekit.profile.statistics import Interval, mean_interval
from edgekit.wire.mqtt import LARGEST, WINDOW
from tests.benchmarks.links.agents import Place, Took, live
from tests.benchmarks.links.hub import hub
from tests.benchmarks.links.namespaces import CONTROL, Shaped, Unavailable, has_netem

MBPS, DELAY = 100.0, 0.025  # of each link; seconds one way
FASTER, WITHIN = 2.5, 0.20
OPENING = 6  # rounds before all others: the peer engine does not know yet how long its neighbours take
WARM_UP = 2  # rounds of a segment that do not count
JITTER = 0.010  # seconds
TROUBLED = 1  # the agent whose link stalls and is reset


class Field:
    """Processes at both sides of the links; `tell` has all agents do something at once."""

    def __init__(self, shaped: Shaped, stack: ExitStack, options: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.benchmarks.links.agents", "tests.benchmarks.links.hub"])
        self._context, self._stack, agents = context, stack, options.agents
        self._leaving: list[Connection] = []
        hosts = [shaped.at(number) for number in range(agents + 1)]
        more = () if options.inflight is None else (f"max_inflight_messages {options.inflight}",)
        self.hub = self._start(hub, shaped.hub, hosts, DELAY, more, options.seed)
        port = self.hub.recv()
        self._ends = []
        for number, host in enumerate(hosts):
            url = f"mqtt://{host}:{port}"
            place = Place(
                shaped.host(number), url, number, agents, options.size, options.chunk, options.window
            )
            self._ends.append(self._start(live, place))
        stack.callback(self._leave)
        for end in self._ends:
            end.recv()

    def tell(self, what: str, *values: Any) -> list[Any]:
        """What all agents answer, the server apart."""
        begin = time.monotonic() + 0.1
        for end in self._ends:
            end.send((what, *values, begin))
        return [end.recv() for end in self._ends][:-1]

    def spent(self) -> dict[str, float]:
        """CPU seconds of relay and broker, and bytes that passed."""
        self.hub.send(("spent",))
        found: dict[str, float] = self.hub.recv()
        return found

    def _start(self, work: Callable[..., None], *values: Any) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(*values, theirs), daemon=True)
        process.start()
        theirs.close()
        self._stack.callback(_await_end, process)
        self._leaving.append(ours)
        return ours

    def _leave(self) -> None:
        for orders in self._leaving[::-1]:  # the hub last
            with suppress(OSError):
                orders.send(("end", 0.0))


def _await_end(process: Any) -> None:
    process.join(5)
    if process.is_alive():
        process.kill()
        process.join()


def predicted(agents: int, size: int, rounds: int) -> dict[str, float]:
    """Seconds a step by the clock that `edgekit simulate` has, for models of `size` bytes through a broker."""
    links = Links(bandwidth_mbps=MBPS, latency_ms=1000 * DELAY, via="broker")
    ring, server = (VirtualClock(links, np.ones(agents + extra)) for extra in (0, 1))
    around = Ring().graph(Roster.of(agents), 0, 0)
    up = Graph.directed(agents + 1, [(agent, agents) for agent in range(agents)])
    down = Graph.directed(agents + 1, [(agents, agent) for agent in range(agents)])
    for clock, graphs in ((ring, [around]), (server, [up, down])):
        ledger = Ledger(len(clock.speeds), clock)
        for graph in graphs * rounds:
            ledger.send(graph.source, graph.target, size, shared=True)
    return {"ring": ring.seconds / rounds, "server": server.seconds / rounds}


def step(took: list[Took]) -> float:
    """Seconds a step of a segment, until the last agent is through with it."""
    ends = np.array([one.when for one in took]).max(axis=0)
    return float(ends[-1] - ends[WARM_UP]) / (len(ends) - 1 - WARM_UP)


def compare(field: Field, cases: Cases, options: Any) -> float:
    """Ring and server in turns, and their ratio; seconds a step of the ring."""
    trips, opening = field.tell("probe"), field.tell("ring", OPENING)
    field.tell("server", WARM_UP)
    tools = {
        "rate": f"tc tbf {MBPS:g} Mbit/s both ways",
        "delay": f"relay, {1000 * DELAY:g} ms each way",
        "netem": "in this kernel, not used" if has_netem() else "not in this kernel",
        "kernel": platform.release(),
        "tcp": CONTROL,
    }
    steps: dict[str, list[float]] = {"ring": [], "server": []}
    last: dict[str, list[Took]] = {}
    shares: dict[str, list[float]] = {"ring": [], "server": []}
    for _ in range(options.segments):
        for side, values in steps.items():
            before, began = field.spent(), time.monotonic()
            last[side] = field.tell(side, options.rounds + WARM_UP)
            values.append(step(last[side]))
            shares[side].append((field.spent()["relay"] - before["relay"]) / (time.monotonic() - began))
    clock = predicted(options.agents, last["ring"][0].payload, options.rounds)
    for side, values in steps.items():
        error = clock[side] / float(np.mean(values)) - 1
        cases.add(
            side,
            met=None if options.smoke else abs(error) <= WITHIN,
            asked=f"predicted within {WITHIN:.0%}",
            step_ms=as_pair(_in_ms(values), 1),
            predicted_ms=round(1000 * clock[side], 1),
            error_percent=round(100 * error, 1),
            agents=options.agents,
            model_bytes=last[side][0].payload,
            wire_bytes=round(float(np.mean([one.bytes for one in last[side]])) / (options.rounds + WARM_UP)),
            asked_again=sum(one.asked for one in last[side]),
            missed=sum(one.missed for one in last[side]),
            cpu_ms=round(
                1000 * float(np.mean([one.cpu for one in last[side]])) / (options.rounds + WARM_UP), 1
            ),
            relay_core_share=round(max(shares[side]), 3),
            round_trip_ms=round(1000 * float(np.median([trip for trip, _ in trips])), 1),
            goodput_mbps=round(float(np.median([rate for _, rate in trips])), 1),
            chunk=options.chunk,
            window=options.window,
            links=tools,
        )
    ratios = np.array(steps["server"]) / np.array(steps["ring"])
    cases.add(
        "server / ring",
        met=None if options.smoke else float(ratios.mean()) >= FASTER,
        asked=f">= {FASTER}",
        ratio=as_pair(_interval(ratios.tolist())),
        predicted_ratio=round(clock["server"] / clock["ring"], 2),
    )
    cases.add(
        "first rounds",
        met=None,
        asked="nothing",
        step_ms=round(1000 * float(np.max([one.when[-1] - one.when[0] for one in opening])) / OPENING, 1),
        asked_again=sum(one.asked for one in opening),
        missed=sum(one.missed for one in opening),
    )
    return float(np.mean(steps["ring"]))


def trouble(field: Field, cases: Cases, options: Any, usual: float) -> None:
    """The ring through jitter on all links, a stall and a reset of one."""
    rounds = max(3 * WARM_UP, 2 * options.rounds)
    orders: dict[str, tuple[Any, ...]] = {
        f"jitter {1000 * JITTER:g} ms": ("jitter", JITTER),
        f"stall {options.stall:g} s": ("stall", TROUBLED, options.stall),
        "reset": ("reset", TROUBLED),
    }
    for name, order in orders.items():
        timer = threading.Timer(0.1 + 2.5 * usual, field.hub.send, (order,))
        timer.start()
        took: list[Took] = field.tell("ring", rounds)
        timer.join()
        field.hub.send(("jitter", 0.0))
        ends = np.array([one.when for one in took])
        whole = (ends[:, -1] - ends[:, 0]) / rounds
        through = all(len(one.when) == rounds + 1 for one in took)
        after: list[Took] = field.tell("ring", WARM_UP + 2)
        cases.add(
            name,
            met=None if options.smoke else through and not sum(one.missed for one in after),
            asked="the run goes on",
            step_ms=round(1000 * float(whole.max()), 1),
            cost_s=round(float((ends[:, -1] - ends[:, 0]).max()) - rounds * usual, 2),
            cost_others_s=round(float(np.median(ends[:, -1] - ends[:, 0])) - rounds * usual, 2),
            longest_round_ms=round(1000 * float(np.diff(ends, axis=1).max()), 1),
            missed=sum(one.missed for one in took),
            late=sum(one.late for one in took),
            asked_again=sum(one.asked for one in took),
            rounds=rounds,
        )


def _in_ms(values: list[float]) -> Interval:
    return _interval([1000 * value for value in values])


def _interval(values: list[float]) -> Interval:
    """The mean with its interval; one value alone has none."""
    return mean_interval(values) if len(values) > 1 else Interval(values[0], values[0], values[0])


def main() -> int:
    """Run the cases; 1 where one misses what is asked, 2 where there can be no such links."""
    options = parser(__doc__, smoke="3 agents, 64 kB, 2 rounds")
    options.add_argument("--agents", type=int, default=8)
    options.add_argument("--size", type=int, default=262_144, help="float32 of a model")
    options.add_argument("--rounds", type=int, default=10, help="of a segment")
    options.add_argument("--segments", type=int, default=5, help="of each side, in turns")
    options.add_argument("--chunk", type=int, default=LARGEST, help="bytes of a frame")
    options.add_argument("--window", type=int, default=WINDOW, help="bytes under way")
    options.add_argument(
        "--inflight", type=int, help="messages that Mosquitto sends an agent unacknowledged (20)"
    )
    options.add_argument("--stall", type=float, default=2.0, help="seconds")
    chosen = options.parse_args()
    if chosen.smoke:
        chosen.agents, chosen.size, chosen.rounds, chosen.segments, chosen.stall = 3, 16_384, 2, 1, 0.3
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the namespaces go
    cases = Cases("slow_links", chosen.seed)
    try:
        find_mosquitto()
        with Shaped(chosen.agents + 1, MBPS) as shaped, ExitStack() as stack:
            field = Field(shaped, stack, chosen)
            trouble(field, cases, chosen, compare(field, cases, chosen))
    except (Unavailable, BadInput) as error:
        print(error, file=sys.stderr)
        return 2
    return cases.finish(
        ["step_ms", "predicted_ms", "error_percent", "ratio", "cost_s", "missed", "asked_again"]
    )


if __name__ == "__main__":
    sys.exit(main())
