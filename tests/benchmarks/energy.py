"""Energy: published windows, waveforms of known energy, intervals, differences, and what sampling costs.

Run by hand: python tests/benchmarks/energy.py [--traces FOLDER] [--tries 5000]

Asked: every window of every MLPerf Tiny trace in the folder (NAME-energy.bin, NAME-timestamps.json, and the runner's
printout as NAME_results.txt) within 0.02 % of its published energy; under 1 % bias on sound waveforms, a flag on at
least 95 % of faulty traces and at most 5 % of sound ones; 95 % intervals that cover in 93 to 97 % of experiments of
five windows under white and AR(1) noise; 3 % between two models found in at least 90 % and none in at most 5 %, in
rounds that follow the noise; a sampler that takes under 1 % of a core; and where an NVIDIA card is, its counter of
energy within 5 % of power times time.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, parser

from edgekit.errors import BadInput
from edgekit.profile.energy import window_energy
from edgekit.profile.sampler import Cost, Sampler
from edgekit.profile.trace import Window
from firmware_bridge.power import find_sensor
from firmware_bridge.power.meter import read_meter
from firmware_bridge.power.windows import read_windows
from tests.benchmarks.energy_waves import (
    CLEAN,
    FAULTY,
    bias_and_flags,
    caught,
    coverage,
    sequential,
    told_apart,
)
from tests.firmware_bridge.power.test_ina3221 import BOARDS
from tests.firmware_bridge.power.test_rapl import LAPTOP
from tests.paths import SHARED

NOISES = {"white 5 %": (0.0, 0.05), "AR(1) 2 %": (0.9, 0.02)}
LOUD = {"AR(1) 4 %": (0.9, 0.04)}
WITHIN = 2e-4  # of the published energy


def published(results: Path) -> list[float]:
    """Joules of the windows, as the MLPerf Tiny runner printed them."""
    return [1e-6 * float(word) for word in re.findall(r"Energy\s+:\s+([\d.]+) uJ\n", results.read_text())]


def results_of(trace: Path) -> Path | None:
    """The runner's printout beside a trace: of this trace, or of its task."""
    name = trace.name.removesuffix("-energy.bin")
    names = (f"{name}_results.txt", f"{re.sub(r'_trace[0-9]+$', '', name)}_results.txt", "results.txt")
    return next((trace.with_name(word) for word in names if trace.with_name(word).exists()), None)


def traces(cases: Cases, folder: Path, *, judged: bool) -> None:
    """Every window of every trace in the folder against its published energy."""
    files = sorted(folder.rglob("*-energy.bin"))
    if not files:
        cases.add("traces", met=None, asked="0.02 %", figure=f"not measured: no *-energy.bin under {folder}")
    for file in files:
        results = results_of(file)
        if results is None:
            cases.add(file.stem, met=None, asked="0.02 %", figure="not measured: no results.txt beside it")
            continue
        windows = read_windows(file.with_name(file.name.replace("-energy.bin", "-timestamps.json")))
        trace, wanted = read_meter(file).trace, published(results)
        errors = [
            (window_energy(trace, window).joules or 0.0) / joules - 1
            for window, joules in zip(windows, wanted, strict=True)
        ]
        worst = float(np.max(np.abs(errors)))
        cases.add(
            file.name.removesuffix("-energy.bin"),
            met=worst <= WITHIN if judged else None,
            asked="each window within 0.02 %",
            figure=f"{len(errors)} windows, at most {100 * worst:.4f} %",
            errors=errors,
        )


def waveforms(cases: Cases, tries: int, *, judged: bool) -> None:
    """Sound and faulty traces: their bias, and how many carry a flag."""
    for name in CLEAN:
        bias, worst, flagged = bias_and_flags(name, tries, seed=cases.seed)
        cases.add(
            f"sound: {name}",
            met=abs(bias) < 0.01 and flagged <= 0.05 if judged else None,
            asked="bias under 1 %, at most 5 % flagged",
            figure=f"bias {100 * bias:+.3f} %, worst {100 * worst:.2f} %, {100 * flagged:.1f} % flagged",
            bias=bias,
            worst=worst,
            flagged=flagged,
        )
    for name in FAULTY:
        share = caught(name, tries, seed=cases.seed)
        cases.add(
            f"faulty: {name}",
            met=share >= 0.95 if judged else None,
            asked="at least 95 % flagged",
            figure=f"{100 * share:.1f} % flagged",
            flagged=share,
        )


def intervals(cases: Cases, tries: int, *, judged: bool) -> None:
    """Five windows and six idle ones, again and again: how often their 95 % interval holds the truth."""
    for name, (rho, noise) in NOISES.items():
        gross, net, flagged = coverage(rho, noise, tries, seed=cases.seed)
        cases.add(
            f"interval: {name}",
            met=0.93 <= min(gross, net) <= max(gross, net) <= 0.97 and flagged <= 0.05 if judged else None,
            asked="93 to 97 % covered, at most 5 % flagged",
            figure=f"gross {100 * gross:.1f} %, net {100 * net:.1f} %, {100 * flagged:.1f} % flagged",
            gross=gross,
            net=net,
            flagged=flagged,
            experiments=tries,
        )


def differences(cases: Cases, tries: int, *, judged: bool) -> None:
    """Two models: five rounds, and as many as the noise asks for."""
    for name, (rho, noise) in {**NOISES, **LOUD}.items():
        fixed = told_apart(0.03, rho, noise, tries // 5, seed=cases.seed)
        found, none = (sequential(change, rho, noise, tries, seed=cases.seed) for change in (0.03, 0.0))
        covered = min(found.covered, none.covered)
        cases.add(
            f"difference: {name}",
            met=found.found >= 0.9 and none.found <= 0.05 and covered >= 0.93 if judged else None,
            asked="3 % found in 90 %, none in 5 %, 93 % covered",
            figure=(
                f"{100 * found.found:.1f} % (five rounds: {100 * fixed:.1f} %), none in {100 * none.found:.1f} %, "
                f"covered {100 * covered:.1f} %, {found.rounds:.1f} rounds"
            ),
            five_rounds=fixed,
            found=found._asdict(),
            none=none._asdict(),
            experiments=tries,
        )


def cost(cases: Cases, seconds: float, *, judged: bool) -> None:
    """What a sampler takes at its default rate, on the trees of two machines."""
    for name, files in (("AGX Orin", BOARDS["AGX Orin"][0]), ("RAPL", LAPTOP)):
        with tempfile.TemporaryDirectory(prefix="edgekit-benchmark-") as folder:
            root = written(files, Path(folder))
            with Sampler(find_sensor(None, root)) as sampler:
                time.sleep(seconds)
        _add_cost(cases, f"sampler: {name}", sampler.cost, sampler.interval, judged=judged)
    with meter(1000) as path:
        sensor: Any = find_sensor(f"serial:{path}")
        begun = time.process_time()
        with Sampler(sensor) as sampler:
            time.sleep(seconds)
        share = (time.process_time() - begun) / seconds
        sensor.close()
    cases.add(
        "meter of 1000 lines a second",
        met=None,
        asked="told, not judged",
        figure=f"{100 * share:.2f} % of a core, every line parsed",
        share=share,
    )


def _add_cost(cases: Cases, name: str, seen: Cost, interval: float, *, judged: bool) -> None:
    cases.add(
        name,
        met=seen.share < 0.01 if judged else None,
        asked="under 1 % of a core",
        figure=f"{100 * seen.share:.3f} % of a core, a reading every {1e3 * interval:g} ms",
        share=seen.share,
        readings=seen.readings,
    )


def written(files: dict[str, object], root: Path) -> Path:
    """A tree of files as a board's kernel shows it."""
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


@contextmanager
def meter(rate: int) -> Iterator[str]:
    """A terminal on which another process writes `rate` lines a second; the path of our end."""
    code = (
        "import os, sys, time\nfd, rate, sent, begun = int(sys.argv[1]), int(sys.argv[2]), 0, time.monotonic()\n"
        "while True:\n    time.sleep(0.005)\n    due = int(rate * (time.monotonic() - begun))\n"
        "    os.write(fd, b''.join(b'%.6f,3.3,0.25\\n' % (n / rate) for n in range(sent, due)) or b'')\n    sent = due"
    )
    import os
    import pty

    theirs, ours = pty.openpty()
    os.write(theirs, b"time (s),voltage (V),current (A)\n")
    process = subprocess.Popen([sys.executable, "-c", code, str(theirs), str(rate)], pass_fds=[theirs])
    try:
        yield os.ttyname(ours)
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)


def card(cases: Cases, seconds: float) -> None:
    """An NVIDIA card under a steady load: its counter of energy beside power times time."""
    asked = "counter within 5 % of power x time"
    try:
        counted, powered = (find_sensor("nvml") for _ in range(2))
        load = steady_load()
    except BadInput as absent:
        cases.add("NVIDIA card", met=None, asked=asked, figure=f"not measured: {absent}")
        return
    if counted.read().joules is None:
        cases.add("NVIDIA card", met=None, asked=asked, figure="not measured: the card counts no energy")
        return
    powered.counts = False  # type: ignore[attr-defined]
    done = threading.Event()
    worker = threading.Thread(target=load, args=(done,))
    worker.start()
    time.sleep(3.0)  # its power is an average over the last second
    with Sampler(counted) as joules, Sampler(powered) as watts:
        time.sleep(seconds)
    done.set()
    worker.join()
    start = max(sampler.trace().times[0] for sampler in (joules, watts)) + 0.2
    window = Window(start, start + 0.9 * seconds)
    by_counter, by_power = (window_energy(each.trace(), window).joules for each in (joules, watts))
    ratio = (by_counter or 0.0) / (by_power or 1.0)
    cases.add(
        "NVIDIA card",
        met=abs(ratio - 1) < 0.05,
        asked=asked,
        figure=f"{by_counter:.1f} J and {by_power:.1f} J: {ratio:.3f}",
    )


def steady_load() -> Callable[[threading.Event], None]:
    """Matrix products on the card until told to stop; BadInput where torch reaches no card."""
    import torch

    if not torch.cuda.is_available():
        raise BadInput("torch: this build reaches no NVIDIA card. Install the CUDA build.")
    left = torch.randn(4096, 4096, device="cuda")

    def run(done: threading.Event) -> None:
        while not done.is_set():
            for _ in range(10):
                torch.matmul(left, left)
            torch.cuda.synchronize()

    return run


def main() -> int:
    """Run all; 1 where one misses what is asked."""
    options = parser(__doc__, smoke="one trace folder, ten tries, one second of sampling")
    options.add_argument(
        "--traces", type=Path, default=SHARED / "energy", help="a folder of MLPerf Tiny traces"
    )
    options.add_argument("--tries", type=int, default=5000, help="experiments for each kind of noise (5000)")
    chosen = options.parse_args()
    cases, judged = Cases("energy", chosen.seed), not chosen.smoke
    tries, seconds = (chosen.tries, 20.0) if judged else (10, 1.0)
    traces(cases, chosen.traces, judged=judged)
    waveforms(cases, min(tries, 1000), judged=judged)
    intervals(cases, tries, judged=judged)
    differences(cases, tries, judged=judged)
    cost(cases, seconds, judged=judged)
    card(cases, seconds)
    return cases.finish(["figure"])


if __name__ == "__main__":
    sys.exit(main())
