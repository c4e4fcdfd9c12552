"""The coordinator beside bare paho on the same broker, in turns: rounds, throughput, CPU, start-up.

Communication is a round without its gradient and without the coding and averaging of rows. What these take is measured
in their place, as a third side: rounds over paho with the same coding and averaging at their end, less those without
(averaging_ms). By themselves they take less than half of that: among messages of eight processes their caches are cold.
whole_ratio is of the round as it is, with all of it; gradient_ms_for_a_tenth the gradient, in CPU time of an agent, of
which communication takes a tenth.

Run by hand: python tests/benchmarks/coordinator.py [--cases raw small cnn large megabyte start]
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import Cases, as_pair, parser

from edgekit.broker.mosquitto import Mosquitto
from edgekit.profile.statistics import mean_interval
from tests.benchmarks.coordinator_agents import Work, work

RUN = """\
title: start
algorithm: d-psgd
topology: ring
model: {gn_lenet: {width: 8}}
data: fashion-mnist
agents: 8
rounds: 1
evaluate: {samples: 100}
"""


@dataclass(frozen=True)
class Case:
    """A ring of agents that each send so many float32: what is asked of edgekit over paho, at most."""

    name: str
    size: int
    rounds: int
    most: float
    agents: int = 8
    cnn: bool = False
    chunk: int = 256 << 10


CASES = (
    Case("raw", 28_938, 100, 1.5),
    Case("small", 500, 200, 1.5),
    Case("cnn", 28_938, 40, 1.6, cnn=True),
    Case("megabyte", 262_144, 30, 1.5),
    Case("large", 25_000_000, 2, 1.25, agents=2),
)


def measure(case: Case, cases: Cases, *, segments: int, smoke: bool) -> None:
    """One case: seconds a round of both sides in turns, and their ratio segment by segment."""
    rounds = min(case.rounds, 3) if smoke else case.rounds
    with Mosquitto() as broker:
        done, sent = _run(case, broker.url, rounds, segments)
    wall = {side: np.array([segment[side][0] for segment in done]) for side in done[0]}
    cpu = {side: np.array([segment[side][1] for segment in done]) for side in done[0]}
    averaging, averaging_cpu = wall["averaging"] - wall["paho"], cpu["averaging"] - cpu["paho"]
    if case.cnn:
        on_cores = case.agents / min(os.cpu_count() or 1, case.agents)
        ratio = mean_interval(wall["edgekit"] / (wall["paho"] + cpu["gradient"] * on_cores))
    else:
        ratio = mean_interval((wall["edgekit"] - averaging) / wall["paho"])
    cpu_ratio = mean_interval((cpu["edgekit"] - averaging_cpu) / cpu["paho"])
    judged = cpu_ratio if case.name == "megabyte" else ratio
    what = "CPU" if case.name == "megabyte" else "gradients and paho" if case.cnn else "paho"
    megabytes = 4e-6 * case.size * case.agents
    cases.add(
        case.name,
        met=None if smoke else judged.value <= case.most,
        asked=f"<= {case.most} x {what}",
        edgekit_ms=round(1000 * float(np.median(wall["edgekit"])), 3),
        paho_ms=round(1000 * float(np.median(wall["paho"])), 3),
        averaging_ms=round(1000 * float(np.median(averaging)), 3),
        ratio=as_pair(ratio),
        whole_ratio=as_pair(mean_interval(wall["edgekit"] / wall["paho"])),
        cpu_ms=round(1000 * float(np.median(cpu["edgekit"])), 3),
        paho_cpu_ms=round(1000 * float(np.median(cpu["paho"])), 3),
        cpu_ratio=as_pair(cpu_ratio),
        gradient_ms=round(1000 * float(np.median(cpu["gradient"])), 3) if case.cnn else None,
        gradient_ms_for_a_tenth=round(10_000 * float(np.median(cpu["edgekit"] - averaging_cpu)), 1),
        megabytes_a_second=round(megabytes / float(np.median(wall["edgekit"])), 1),
        payload_bytes=sent[0],
        frame_bytes=sent[1],
    )


def _run(case: Case, url: str, rounds: int, segments: int) -> tuple[list[dict[str, Any]], tuple[int, int]]:
    """[segments] of {side: (the slowest agent's wall seconds, mean CPU seconds) a round}; bytes of the last."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(case.agents)
    processes, ends = [], []
    for number in range(case.agents):
        ours, theirs = context.Pipe()
        task = Work(
            url, f"bench-{case.name}", number, case.agents, case.size, case.cnn, case.chunk, rounds, segments
        )
        process = context.Process(target=work, args=(task, barrier, theirs), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
        ends.append(ours)
    results = [end.recv() for end in ends]
    for process in processes:
        process.join()
    found = []
    for segment in range(segments):
        sides = [result[0][segment] for result in results]
        found.append(
            {
                side: (max(one[side][0] for one in sides), float(np.mean([one[side][1] for one in sides])))
                for side in sides[0]
            }
        )
    return found, results[0][1]


def start_up(cases: Cases, *, smoke: bool) -> None:
    """Seconds until all agents of `edgekit train --local` train, from the command to the first round."""
    agents = 2 if smoke else 8
    with tempfile.TemporaryDirectory() as name, Mosquitto() as broker:
        folder = Path(name)
        (folder / "run.yaml").write_text(RUN.replace("agents: 8", f"agents: {agents}"))
        begin = time.time()
        command = [
            sys.executable,
            "-m",
            "edgekit",
            "train",
            "run.yaml",
            "--broker",
            broker.url,
            "--out",
            "out",
        ]
        subprocess.run(
            [*command, "--local", str(agents), "--quiet"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        seconds = _first_round(folder / "out") - begin
        cases.add(
            "start", met=None if smoke else seconds <= 4.0, asked="<= 4 s, forked", seconds=round(seconds, 2)
        )
        if smoke:
            return
        seconds = _separate(folder, broker.url, agents)
        cases.add(
            "start apart",
            met=None if smoke else seconds <= 12.0,
            asked="<= 12 s, as processes of their own",
            seconds=round(seconds, 2),
        )


def _separate(folder: Path, url: str, agents: int) -> float:
    """The same with an `edgekit agent` each."""
    begin = time.time()
    edgekit = [sys.executable, "-m", "edgekit"]
    others = []
    for number in range(agents):
        (folder / f"agent-{number}.yaml").write_text(f"partition: {number}\n")
        words = [
            "--id",
            f"cam-{number}",
            "--config",
            f"agent-{number}.yaml",
            "--out",
            f"own-{number}",
            "--once",
        ]
        others.append(
            subprocess.Popen(
                [*edgekit, "agent", "--broker", url, *words], cwd=folder, stderr=subprocess.DEVNULL
            )
        )
    subprocess.run(
        [*edgekit, "train", "run.yaml", "--broker", url, "--local", "0", "--out", "apart", "--quiet"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for other in others:
        other.wait()
    return min(_first_round(folder / f"own-{number}") for number in range(agents)) - begin


def _first_round(folder: Path) -> float:
    """When the last agent wrote its first round."""
    return max(path.stat().st_ctime for path in folder.rglob("rounds.jsonl"))


def main() -> int:
    """Measure the cases that are asked for."""
    options = parser(__doc__, smoke="3 rounds of the raw ring, and 2 agents that start")
    options.add_argument("--cases", nargs="*", default=[], help="raw small cnn megabyte large start")
    options.add_argument("--segments", type=int, default=7)
    chosen = options.parse_args()
    cases = Cases("coordinator", chosen.seed)
    wanted = chosen.cases or (["raw", "start"] if chosen.smoke else [*(case.name for case in CASES), "start"])
    for case in CASES:
        if case.name in wanted:
            measure(case, cases, segments=2 if chosen.smoke else chosen.segments, smoke=chosen.smoke)
    if "start" in wanted:
        start_up(cases, smoke=chosen.smoke)
    return cases.finish(["edgekit_ms", "paho_ms", "ratio", "cpu_ratio", "seconds"])


if __name__ == "__main__":
    sys.exit(main())
