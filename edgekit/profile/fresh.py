"""One run in a fresh process, where memory and floating-point modes are those of this model alone.

`python -m edgekit.profile.fresh` reads a JSON line from its input and prints one; `fresh` does both ends.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import BadInput

TIMEOUT = 300.0


@dataclass(frozen=True)
class Fresh:
    """What a fresh process saw: memory that loading and running added, seconds to load, seconds a run."""

    peak_memory_bytes: int
    load_seconds: float
    run_seconds: float


def fresh(
    path: Path,
    feeds: Mapping[str, np.ndarray],
    *,
    target: str = "cpu",
    threads: int = 1,
    runs: int = 1,
    seconds: float = 2.0,
    flush_to_zero: bool = False,
) -> Fresh:
    """Load `path` in a new process and run it `runs` times, or until `seconds` have passed.

    `run_seconds` is the shortest run. BadInput with the process's own line where it fails.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-fresh-") as folder:
        np.savez(Path(folder) / "feeds.npz", **dict(feeds))  # type: ignore[arg-type]
        task = {
            "path": str(Path(path).resolve()),
            "feeds": str(Path(folder) / "feeds.npz"),
            "target": target,
            "threads": threads,
            "runs": runs,
            "seconds": seconds,
            "flush_to_zero": flush_to_zero,
        }
        answer = _process(json.dumps(task))
    if "error" in answer:
        raise BadInput(answer["error"])
    return Fresh(**answer)


def _process(task: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit.profile.fresh"],
            input=task,
            text=True,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BadInput(
            f"profile: one run took more than {TIMEOUT:.0f} s in a fresh process. Give a smaller batch."
        ) from error
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise BadInput(f"profile: the fresh process failed: {last}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def main() -> None:
    """The fresh process's side."""
    from edgekit.errors import EdgekitError

    task = json.loads(sys.stdin.read())
    try:
        answer = _measured(task)
    except EdgekitError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


def _measured(task: dict[str, Any]) -> dict[str, Any]:
    from edgekit.profile.clock import now, timed
    from edgekit.profile.latency import caller
    from edgekit.target import find_target

    target = find_target(task["target"])
    getattr(target, "import_runtime", lambda: None)()
    with np.load(task["feeds"]) as file:
        feeds = {name: file[name] for name in file.files}
    options = {"flush_to_zero": True} if task["flush_to_zero"] else {}
    before = _forget_peak()
    start = now()
    runner = target.runner(Path(task["path"]), threads=task["threads"], **options)
    loaded = now()
    runner.run(feeds)
    peak = memory("VmHWM") - before
    call = caller(runner, feeds)
    times: list[int] = []
    while not times or (len(times) < task["runs"] and now() - loaded < task["seconds"] * 1e9):
        times.append(timed(call))
    return {
        "peak_memory_bytes": max(peak, 0),
        "load_seconds": (loaded - start) / 1e9,
        "run_seconds": min(times) / 1e9,
    }


def _forget_peak() -> int:
    """Set the peak back to the present and return the present; the old peak where the kernel refuses."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return memory("VmHWM")
    return memory("VmRSS")


def memory(field: str) -> int:
    """VmRSS (present) or VmHWM (peak) resident memory of this process in bytes, from /proc/self/status."""
    status = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


if __name__ == "__main__":
    main()
