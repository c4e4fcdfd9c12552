"""How long quantizing ResNet-8 on Fashion-MNIST takes: PTQ, export, audit and profile, in wall time.

Run by hand: python tests/benchmarks/ptq_time.py

Three cases. "fresh process" starts Python, imports, reads the shipped data, quantizes with 512 calibration
images, exports, audits and profiles. "warm process" does the same once more where everything was imported
and run before. "command" is `edgekit compress` on a recipe with the same step, which also measures the
baseline, the metric on the validation data and the alternatives, and writes the report; nothing is asked of
it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, parser, settle, to_graph

ASKED = 20.0
RECIPE = """\
model: {{resnet8: {{in_channels: 1}}}}
weights: {weights}
data: fashion-mnist
boards: [this-machine]
steps:
  - quantize: {{}}
"""


class Stages:
    """Seconds of each named stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def quantize_once(seed: int) -> dict[str, float]:
    """Data, PTQ, export, audit and profile once; seconds by stage."""
    stages = Stages()
    with stages.stage("import"):
        from edgekit.prepare import prepare
        from edgekit.profile import profile
        from edgekit.quant.quantization import Quantization
        from edgekit.recipe import Recipe
        from edgekit.target import find_board, find_target
        from edgekit.transforms.quantize import Quantize
    board, target = find_board("this-machine"), find_target("cpu")
    with stages.stage("data and model"):
        job = prepare(
            Recipe(model="resnet8", model_options={"in_channels": 1}, data="fashion-mnist", seed=seed)
        )
        job.job.caps = target.caps(board)
        model = settle(job.model, (1, 28, 28), seed=seed)
    with stages.stage("ptq"):
        fused, change = Quantize().apply(model, job.job)
    with tempfile.TemporaryDirectory(prefix="edgekit-benchmark-") as folder:
        with stages.stage("export"):
            quantization = Quantization.from_json(change.plan["quantization"])  # type: ignore[index]
            path = target.export(
                to_graph(fused, (1, 28, 28)), quantization, board, Path(folder) / "model.onnx"
            ).path
        with stages.stage("audit"):
            audit = target.audit(path)
        with stages.stage("profile"):
            found = profile(path, {"input": next(iter(job.job.calibration_feeds()))["input"][:1]})
    if audit.float_compute_nodes or found.latency is None:
        raise RuntimeError(f"the file is not what was to be timed: {audit.float_compute_nodes} float nodes")
    return stages.seconds


def fresh(cases: Cases, *, smoke: bool) -> None:
    """A new Python process, from its start to its end."""
    start, used = time.perf_counter(), _processor_seconds()
    command = [sys.executable, str(Path(__file__).resolve()), "--once", "--seed", str(cases.seed)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, processor = time.perf_counter() - start, _processor_seconds() - used
    add(cases, "fresh process", seconds, processor, json.loads(done.stdout.splitlines()[-1]), smoke=smoke)


def warm(cases: Cases, *, smoke: bool) -> None:
    """The second run in this process."""
    quantize_once(cases.seed)
    start, used = time.perf_counter(), _processor_seconds()
    stages = quantize_once(cases.seed)
    seconds, processor = time.perf_counter() - start, _processor_seconds() - used
    add(cases, "warm process", seconds, processor, stages, smoke=smoke)


def command(cases: Cases) -> None:
    """`edgekit compress` on a recipe that only quantizes."""
    from safetensors.torch import save_file

    from edgekit.registry import models

    with tempfile.TemporaryDirectory(prefix="edgekit-benchmark-") as folder:
        weights, recipe = Path(folder) / "resnet8.safetensors", Path(folder) / "recipe.yaml"
        model = settle(models.get("resnet8")(in_channels=1), (1, 28, 28), seed=cases.seed)
        save_file(model.state_dict(), str(weights))
        recipe.write_text(RECIPE.format(weights=weights), encoding="utf-8")
        start, used = time.perf_counter(), _processor_seconds()
        done = subprocess.run(
            [sys.executable, "-m", "edgekit", "compress", str(recipe), "--out", f"{folder}/out"],
            capture_output=True,
            text=True,
        )
        seconds, processor = time.perf_counter() - start, _processor_seconds() - used
    if done.returncode:
        raise RuntimeError(f"edgekit compress ended with {done.returncode}: {done.stderr[-500:]}")
    cases.add(
        "command",
        met=None,
        asked="-",
        seconds=round(seconds, 1),
        processor_seconds=round(processor, 1),
        stages={},
    )


def add(
    cases: Cases, case: str, seconds: float, processor: float, stages: dict[str, float], *, smoke: bool
) -> None:
    """One judged case."""
    cases.add(
        case,
        met=None if smoke else seconds <= ASKED,
        asked=f"<= {ASKED:g} s",
        seconds=round(seconds, 1),
        processor_seconds=round(processor, 1),
        stages=stages,
    )


def _processor_seconds() -> float:
    """What this process and its ended children took of the processor so far."""
    return sum(os.times()[:4])


def main() -> int:
    """Run the three cases; 1 where one takes more than what is asked."""
    options = parser(__doc__, smoke="the fresh process only")
    options.add_argument(
        "--once", action="store_true", help="quantize once and print the stages; for the fresh process"
    )
    chosen = options.parse_args()
    if chosen.once:
        print(json.dumps(quantize_once(chosen.seed)))
        return 0
    cases = Cases("ptq_time", chosen.seed)
    fresh(cases, smoke=chosen.smoke)
    if not chosen.smoke:
        warm(cases, smoke=False)
        command(cases)
    return cases.finish(["seconds", "processor_seconds", "stages"])


if __name__ == "__main__":
    sys.exit(main())
