"""The estimate: FINN's steps up to its analytical reports, run in its own environment, and verified.

No vendor tool takes part. What FINN leaves behind lies in `estimate/` of the build folder, after a failure too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput, EdgekitError
from targets.fpga.finn import steps
from targets.fpga.finn.build import CONFIG, NARROW
from targets.fpga.finn.check import Check, checks_in
from targets.fpga.finn.environment import FINN
from targets.fpga.tool import Environment

TIMEOUT = 3600.0
OUTPUT = "estimate"
SPECIALIZED = "intermediate_models/step_specialize_layers.onnx"


@dataclass(frozen=True)
class Estimate:
    """A finished estimate: its folder, the seconds of each step, and the verifications."""

    folder: Path
    seconds: dict[str, float]
    checks: tuple[Check, ...]


def estimate(
    build: Path,
    *,
    finn: Environment | None = None,
    say: Callable[[str], None] = lambda line: None,
    timeout: float = TIMEOUT,
) -> Estimate:
    """Run all eleven steps on a build folder; progress goes to `say`, a line a step.

    EdgekitError naming step, layer and FINN's reason where a step fails, where `timeout` seconds pass or where
    the converted network computes something else than expected.
    """
    config, kind = _config(build)
    output = build / OUTPUT
    shutil.rmtree(output, ignore_errors=True)
    made = _run(build, output, config, build / "model.onnx", steps.estimate_steps(kind), finn, say, timeout)
    for check in made.checks:
        if not check.passed:
            raise EdgekitError(f"finn: {check.told()}. The intermediate models are kept in {output}.")
    _check_folding(build, output, config)
    return made


def _check_folding(build: Path, output: Path, config: dict[str, Any]) -> None:
    """FINN passes over what a folding file does not fit, and leaves those layers at PE = SIMD = 1."""
    if not config.get("folding_config_file"):
        return
    given = json.loads((build / config["folding_config_file"]).read_text(encoding="utf-8"))
    used = json.loads((output / "report" / "applied_folding_config.json").read_text(encoding="utf-8"))
    unknown = sorted(set(given) - set(used))
    folded = {name for name, row in used.items() if {"PE", "SIMD"} & set(row)} - {"Defaults"}
    unfolded = sorted(folded - set(given)) if config.get("target_fps") is None else []
    if unknown or unfolded:
        told = f"names {', '.join(unknown)}, which the network lacks" if unknown else ""
        told += " and " * bool(unknown and unfolded)
        told += f"leaves out {', '.join(unfolded)}" if unfolded else ""
        raise EdgekitError(
            f"finn: {config['folding_config_file']} {told}. Start from the report/auto_folding_config.json "
            "of an estimate for a frame rate."
        )


def refold(
    done: Estimate,
    output: Path,
    target_fps: int,
    *,
    stream: int = NARROW,
    finn: Environment | None = None,
    say: Callable[[str], None] = lambda line: None,
    timeout: float = TIMEOUT,
) -> Estimate:
    """The same network folded for another frame rate, from an estimate's specialized model: the last steps.

    `stream` limits the bits of weights that an element takes a cycle.
    """
    build = done.folder.parent
    config, _ = _config(build)
    config |= {"target_fps": target_fps, "mvau_wwidth_max": stream}
    config.pop("folding_config_file", None)
    shutil.rmtree(output, ignore_errors=True)
    made = _run(build, output, config, done.folder / SPECIALIZED, list(steps.FOLD), finn, say, timeout)
    return Estimate(made.folder, made.seconds, done.checks)


def _config(build: Path) -> tuple[dict[str, Any], str]:
    path = build / CONFIG
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file. Write the build folder first.")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if config.get("target_fps") is None and not config.get("folding_config_file"):
        raise BadInput(f"{path}: it has neither target_fps nor folding_config_file. Add one.")
    return config, "residual" if "steps" in config else "chain"


def _run(
    build: Path,
    output: Path,
    config: dict[str, Any],
    model: Path,
    names: list[str],
    finn: Environment | None,
    say: Callable[[str], None],
    timeout: float,
) -> Estimate:
    finn = finn or FINN.require()
    output.mkdir(parents=True)
    wanted = [name for name in config.pop("verify_steps", []) if name.endswith("_python")]
    config |= {
        "output_dir": str(output.resolve()),
        "generate_outputs": ["estimate_reports"],
        "verify_steps": wanted or None,
    }
    config.pop("steps", None)
    task = {
        "folder": str(build.resolve()),
        "log": str(output.resolve() / "finn.log"),
        "model": str(model.resolve()),
        "source": str(build.resolve() / "model.onnx"),
        "config": config,
        "steps": names,
    }
    (output / "task.json").write_text(json.dumps(task, indent=2), encoding="utf-8")
    seconds = _follow(_events(finn, output, timeout), output, say)
    _drop_the_stand_in(output)
    return Estimate(output, seconds, checks_in(output, build) if wanted else ())


def _events(finn: Environment, output: Path, timeout: float) -> Iterator[dict[str, Any]]:
    """What the worker tells; its whole process group ends with the iteration, or after `timeout` seconds."""
    worker = Path(__file__).with_name("worker.py")
    process = subprocess.Popen(
        [str(finn.python), "-I", str(worker), str((output / "task.json").resolve())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=_environment(output),
        start_new_session=True,
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        _end(process)

    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        for line in process.stdout or ():
            yield json.loads(line)
        complaint = process.stderr.read() if process.stderr else ""
        if late.is_set():
            yield {"late": timeout}
        elif process.wait():
            yield {"died": (complaint.strip().splitlines() or [f"exit status {process.returncode}"])[-1]}
    finally:
        timer.cancel()
        _end(process)


def _follow(events: Iterator[dict[str, Any]], output: Path, say: Callable[[str], None]) -> dict[str, float]:
    """The seconds of each step; EdgekitError where the worker failed, died or was late."""
    seconds: dict[str, float] = {}
    step, failed = "importing FINN", None
    for event in events:
        if "step" in event:
            step = _plain(event["step"])
            say(f"finn {event['number']}/{event['of']} {step}")
        elif "seconds" in event:
            seconds[step] = event["seconds"]
        elif "failed" in event:
            failed = event
        elif "late" in event:
            raise EdgekitError(
                f"finn: {step} was not done after {event['late']:g} s. Give more time, or a smaller network; "
                f"what is there is kept in {output}."
            )
        elif "died" in event:
            raise EdgekitError(_why(step, failed, event["died"], output))
    return seconds


def _why(step: str, failed: dict[str, Any] | None, complaint: str, output: Path) -> str:
    if failed is None:
        return f"finn: {step}: {complaint}. FINN's log is {output / 'finn.log'}."
    where = f" at {failed['layer']}" if failed["layer"] else ""
    reason = failed["reason"].rstrip(". ")
    return f"finn: {step} failed{where}: {reason}. Log and intermediate models are kept in {output}."


def _plain(step: str) -> str:
    return step.removeprefix("step_").replace("_", " ")


def _environment(output: Path) -> dict[str, str]:
    """This process's environment, FINN's settings pointed into the output folder and not into the home."""
    dropped = ("PYTHON", "PYTEST", "XILINX", "FINN")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {
        "FINN_BUILD_DIR": str(output.resolve() / "work"),
        "FINN_SETTINGS": str(output.resolve() / "settings.yaml"),
    }


def _drop_the_stand_in(output: Path) -> None:
    """FINN names the release of Vivado it ran with; here there was none."""
    (output / "report" / "metadata_builder.json").unlink(missing_ok=True)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the worker's process group, where it still runs."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
