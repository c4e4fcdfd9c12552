"""A split network that answers requests: how much faster three agents are than one, and what a hop costs.

Run by hand: python tests/benchmarks/split_stream.py [--cases throughput hop] [--rounds 7] [--requests 200]

throughput, on the virtual clock: ResNet-18 at 32x32 cut into three segments of about the same time, each agent's work
measured here, links of 1000 Mbit/s and 0.1 ms, 8 requests under way, beside the same network at one agent, in turns.
hop, by wall clock: 25,600 float32 through segments that do next to nothing, in real processes over Mosquitto on
loopback, one request at a time: what is left of the round trip without the work, by hop.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

import torch
from common import Cases, as_pair, parser, settle

from edgekit.broker.mosquitto import Mosquitto
from edgekit.errors import BadInput
from edgekit.profile.statistics import mean_interval
from edgekit.registry import models
from edgekit.split import plan as planning
from edgekit.split.network import Network
from edgekit.split.pipeline import Pipeline
from edgekit.split.placement import Placement
from edgekit.split.segment import segments_of
from edgekit.split.simulate import Wires
from tests.benchmarks.split_agents import Job, Place, agents, hop_run

FASTER, MOST_MS = 2.2, 1.0
WIRES = Wires(1000.0, 0.1)
VALUES = 25_600  # float32: 102,400 bytes
NAMES = ("a", "b", "c")


def balanced(network: Network, repeats: int) -> tuple[tuple[str, ...], list[float]]:
    """The cuts whose slowest of three stages is fastest, and seconds of the stages as planned."""
    seconds = planning.measure(network, repeats=repeats)
    devices = [planning.Device.scaled(name, seconds, 1.0) for name in NAMES]
    link = planning.Link(WIRES.bandwidth_mbps, WIRES.latency_ms)
    links = {(one, other): link for one in NAMES for other in NAMES if one != other}
    found = planning.plan(network, devices, links, planning.Ends("a"), aim="throughput", cuts=2)
    return found.cuts, [stage.seconds for stage in found.stages]


def pipeline(network: Network, cuts: tuple[str, ...], on: tuple[str, ...]) -> Pipeline:
    """A network at these agents."""
    parts = segments_of(network, network.assignment(tuple(network.cut(name) for name in cuts)))
    return Pipeline(network, parts, Placement(on, ("a",), "a"), "a", WIRES)


def throughput(cases: Cases, options: Any) -> None:
    """Three agents and one, in turns."""
    model = models.get("resnet18")(width=options.width, small_input=True, num_classes=10)
    network = Network(settle(model, (3, 32, 32), seed=options.seed), torch.zeros(1, 3, 32, 32))
    cuts, stages = balanced(network, options.repeats)
    one, three = pipeline(network, (), ("a",)), pipeline(network, cuts, NAMES)
    chance = torch.Generator().manual_seed(options.seed)
    requests = [{"x": torch.randn(1, 3, 32, 32, generator=chance)} for _ in range(options.requests)]
    rates: dict[str, list[float]] = {"one": [], "three": []}
    for _ in range(options.rounds):
        rates["one"].append(one.run(requests, options.window).requests_a_second)
        rates["three"].append(three.run(requests, options.window).requests_a_second)
    ratios = [more / less for less, more in zip(rates["one"], rates["three"], strict=True)]
    cases.add(
        "throughput of three agents / one",
        met=None if options.smoke else median(ratios) >= FASTER,
        asked=f">= {FASTER}, virtual clock",
        clock="virtual clock",
        ratio=round(median(ratios), 2),
        interval=as_pair(mean_interval(ratios)) if len(ratios) > 1 else None,
        one_a_second=round(median(rates["one"]), 1),
        three_a_second=round(median(rates["three"]), 1),
        cuts=list(cuts),
        stages_ms=[round(1000 * seconds, 2) for seconds in stages],
        requests=options.requests,
        window=options.window,
    )


def hop(cases: Cases, options: Any) -> None:
    """Two agents and three, in turns."""
    rows: dict[int, list[Any]] = {2: [], 3: []}
    with Mosquitto() as broker:
        for count, found in rows.items():
            with agents([Place(name, broker.url) for name in NAMES[:count]]) as field:
                for turn in range(1 if options.smoke else 3):
                    text = hop_run(NAMES[:count], VALUES)
                    found.append(field.answer(Job(text, f"hop-{count}-{turn}", options.requests)))
    for count, found in rows.items():
        trip = median(value for one in found for value in one.latencies)
        compute = median(one.compute for one in found)
        cost = 1000 * (trip - compute) / count
        cases.add(
            f"a hop of {count}",
            met=None if options.smoke else cost <= MOST_MS,
            asked=f"<= {MOST_MS:g} ms a hop on loopback",
            clock="wall clock",
            hop_ms=round(cost, 3),
            round_trip_ms=round(1000 * trip, 3),
            fastest_ms=round(1000 * min(value for one in found for value in one.latencies), 3),
            compute_ms=round(1000 * compute, 3),
            bytes=4 * VALUES,
            requests=options.requests,
            asked_again=sum(one.moves for one in found),
        )


def main() -> int:
    """Run the cases; 1 where one misses what is asked, 2 where there is no broker."""
    options = parser(__doc__, smoke="a narrow network, 6 requests, 1 round")
    options.add_argument("--cases", nargs="*", default=["throughput", "hop"])
    options.add_argument("--rounds", type=int, default=7, help="of throughput, in turns")
    options.add_argument("--requests", type=int, default=200)
    options.add_argument("--window", type=int, default=8)
    options.add_argument("--width", type=int, default=32, help="of ResNet-18")
    chosen = options.parse_args()
    chosen.repeats = 2 if chosen.smoke else 21
    if chosen.smoke:
        chosen.rounds, chosen.requests, chosen.width = 1, 6, 4
    torch.set_num_threads(1)
    cases = Cases("split_stream", chosen.seed)
    try:
        if "throughput" in chosen.cases:
            throughput(cases, chosen)
        if "hop" in chosen.cases:
            hop(cases, chosen)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return cases.finish(["clock", "ratio", "one_a_second", "three_a_second", "hop_ms", "round_trip_ms"])


if __name__ == "__main__":
    sys.exit(main())
