"""What measuring adds to what is measured: edgekit's loops and a power sensor's thread against a bare loop.

Run by hand: python tests/benchmarks/profiler_cost.py

The bare loop calls a runner and does nothing else. It takes turns of 5 ms, in a random order and on one core,
with as many calls in the loop of `measure` and in a turn of `interleave`, which time each call. A figure is the
ratio of processor times of the whole process, so that all that measuring does counts, also what falls between
two timings; a round's is the 20th percentile of its turns, what is spent where other processes leave the
caches alone. Beside it: one core's share that a thread takes which samples a power sensor (a hwmon tree in a
folder) while the runner runs, as 1 + share, over windows. onnxruntime's own profiler is judged by nothing: it
adds more than small nodes take, which is why the times of layers are corrected for it.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, as_pair, parser, random_batches, settle, to_graph

from edgekit.profile import Ratio, Timing, ratio
from edgekit.profile.clock import no_garbage_collection, now, pinned
from edgekit.profile.interleave import _turn
from edgekit.profile.latency import _calls_for
from edgekit.profile.sampler import Sampler
from edgekit.profile.statistics import Interval, mean_interval
from edgekit.registry import models
from edgekit.target import find_board, find_target
from firmware_bridge.power.hwmon import find
from targets.cpu.runtime import OrtRunner

NETS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "ds_cnn": ({}, (1, 49, 10)),
    "resnet8": ({}, (3, 32, 32)),
    "mobilenet_v1": ({"width": 0.25}, (3, 96, 96)),
}
MOST = 1.02
TURN, TURNS = 0.005, 10  # seconds, and turns of each way in a round
JUDGED = ("measure", "interleave", "sampling")
Call = Callable[[], object]
Block = Callable[[int], float]  # of so many calls: nanoseconds of processor time for each


def spent(calls: Callable[[int], object]) -> Block:
    """The processor time of `calls(count)` for each of them."""

    def block(count: int) -> float:
        start = time.process_time_ns()
        calls(count)
        return (time.process_time_ns() - start) / count

    return block


def bare(call: Call, count: int) -> None:
    """The loop that everything is compared with."""
    for _ in range(count):
        call()


def sampling(call: Call, folder: Path, *, windows: int, seconds: float) -> Interval:
    """1 + the share of the core that the sampling thread takes beside the bare loop."""
    sensor = find(board(folder))[0]
    shares = []
    for _ in range(windows):
        with Sampler(sensor) as sampler:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                bare(call, 10)
        shares.append(1 + sampler.cost.share)
    return mean_interval(shares)


def ways(call: Call, profiled: Call) -> dict[str, Block]:
    """Each way to run the same calls."""
    return {
        "bare": spent(partial(bare, call)),
        "measure": spent(lambda count: _calls_for(call, 0.0, count, now)),
        "interleave": spent(lambda count: _turn(call, count - 1, now)),  # its first call is not timed
        "runtime_profiler": spent(partial(bare, profiled)),
    }


def board(folder: Path) -> Path:
    """The tree of a board with one power monitor, whose every reading opens a file as the real one's does."""
    chip = folder / "sys/class/hwmon/hwmon0"
    chip.mkdir(parents=True)
    for name, text in {"name": "ina226", "power1_input": "5120000", "update_interval": "50"}.items():
        (chip / name).write_text(f"{text}\n", encoding="ascii")
    return folder


def compare(blocks: Mapping[str, Block], *, rounds: int, seed: int) -> dict[str, Ratio]:
    """How many times as much processor time a call takes in each way as in the bare loop."""
    chance, order = random.Random(seed), list(blocks) * TURNS
    blocks["bare"](20)  # warm
    count = max(4, int(TURN * 1e9 / blocks["bare"](20)))
    times: dict[str, list[float]] = {name: [] for name in blocks}
    for _ in range(rounds):
        chance.shuffle(order)
        for name in order:
            times[name].append(blocks[name](count))
    found = {name: _timing(np.array(values).reshape(rounds, TURNS)) for name, values in times.items()}
    return {name: ratio(found[name], found["bare"]) for name in blocks if name != "bare"}


def _timing(turns: np.ndarray) -> Timing:
    return Timing(rounds=np.percentile(turns, 20, axis=1), calls=turns)


def case(name: str, cases: Cases, *, rounds: int, smoke: bool) -> None:
    """One network in float."""
    import torch

    options, shape = NETS[name]
    torch.manual_seed(cases.seed)
    graph = to_graph(settle(models.get(name)(**options), shape, seed=cases.seed), shape)
    feeds = {"input": random_batches(shape, seed=cases.seed, count=1, batch=1)[0]}
    with tempfile.TemporaryDirectory(prefix="edgekit-benchmark-") as place:
        folder = Path(place)
        path = find_target("cpu").export(graph, None, find_board("this-machine"), folder / "net.onnx").path
        with pinned(1), no_garbage_collection():
            runner, profiled = OrtRunner(path), OrtRunner(path, profile=True)
            call = runner.prepare(feeds)
            found: dict[str, Interval] = {
                **compare(ways(call, profiled.prepare(feeds)), rounds=rounds, seed=cases.seed),
                "sampling": sampling(call, folder, windows=max(3, rounds // 4), seconds=1.0),
            }
        profiled._trace()
    cases.add(
        name,
        met=None if smoke else all(found[way].high <= MOST for way in JUDGED),
        asked=f"95 % upper bound over the bare loop <= {MOST}",
        rounds=rounds,
        **{way: as_pair(value, 4) for way, value in found.items()},
    )


def main() -> int:
    """Run the cases; 1 where measuring adds more than is asked."""
    options = parser(__doc__, smoke="DS-CNN, 3 rounds")
    options.add_argument("--models", nargs="+", default=list(NETS), choices=list(NETS))
    options.add_argument("--rounds", type=int, default=30)
    chosen = options.parse_args()
    cases = Cases("profiler_cost", chosen.seed)
    for name in ["ds_cnn"] if chosen.smoke else chosen.models:
        case(name, cases, rounds=3 if chosen.smoke else chosen.rounds, smoke=chosen.smoke)
    return cases.finish([*JUDGED, "runtime_profiler"])


if __name__ == "__main__":
    sys.exit(main())
