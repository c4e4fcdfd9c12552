"""The whole chain on ResNet-8 width 64 and Fashion-MNIST: teacher, prune, distil, quantize, export.

Run by hand: python tests/benchmarks/chain.py --out runs/chain    (--probe: print the estimated time, stop)

Training data are the shipped 10,000 images, test data the full 10,000 (a folder of IDX files as --root, or
the Debian package dataset-fashion-mnist). A probe of a few batches chooses the epochs so that teacher and
chain fit into --minutes; they are kept in OUT/chain.json. A killed run goes on where it was when it is
started again with the same --out, and its wall time is added up. Asked of the result against the fp32
artefact of the same network: 8 times the speed at 1 thread, at most 1.0 point lower top-1, at most 60
minutes.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from chain_plan import TEACHER_RATE, Plan, fitted, probe, tell
from common import Cases, as_pair, parser

from edgekit.choose import time_files
from edgekit.data.dataset import Dataset
from edgekit.data.idx import fashion_mnist
from edgekit.errors import BadInput, EdgekitError
from edgekit.journal import read_json, write_json
from edgekit.profile import ratio
from edgekit.profile.statistics import Interval, mean_interval
from edgekit.recipe import Recipe
from edgekit.target import find_target

FASTER, DROP, MINUTES = 8.0, 1.0, 60.0
DATA = f"{Path(__file__).resolve()}:data"


def data(*, root: str | None = None, full: bool = True) -> Dataset:
    """The shipped training sample with the full test set (with the sample's where `full` is false)."""
    sample = fashion_mnist()
    if not full:
        return sample
    whole = fashion_mnist(root=root, full=True)
    return replace(sample, name="fashion-mnist 10k", test_x=whole.test_x, test_y=whole.test_y)


class Stopwatch:
    """Wall seconds over every start of one output folder; written at each message, so a kill loses little."""

    def __init__(self, path: Path) -> None:
        self.path, self.start = path, time.perf_counter()
        self.before: dict[str, float] = read_json(path) if path.exists() else {"seconds": 0.0, "starts": 0}
        self.before["starts"] += 1

    def say(self, message: str) -> None:
        """Tell and write the time."""
        print(f"[{self.seconds / 60:5.1f} min] {message}", file=sys.stderr, flush=True)
        write_json(self.path, {**self.before, "seconds": round(self.seconds, 1)})

    @property
    def seconds(self) -> float:
        """Seconds over all starts so far."""
        return self.before["seconds"] + time.perf_counter() - self.start


def train_teacher(recipe: Recipe, path: Path, work: Path, plan: Plan, watch: Stopwatch) -> None:
    """Train the network that is compressed, and save its weights; resumed by epoch."""
    from safetensors.torch import save_file

    from edgekit.fit import Hooks
    from edgekit.prepare import prepare
    from edgekit.progress import make_progress

    if path.exists():
        watch.say("teacher: done before")
        return
    watch.say(f"teacher: {plan.teacher} epochs")
    prepared = prepare(recipe)
    job = prepared.job
    job.step = "teacher"
    hooks = Hooks(
        epochs=plan.teacher,
        lr=TEACHER_RATE,
        weight_decay=0.05,
        label="teacher",
        work=work,
        progress=make_progress(watch.say),
        seed_for_epoch=lambda epoch: job.seed_for(f"epoch {epoch}"),
    )
    model = job.train(prepared.model, hooks)
    save_file(model.state_dict(), f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def correct(path: Path, batches: Any) -> np.ndarray:
    """Whether each test image is classified rightly by an artefact, in onnxruntime."""
    runner = find_target("cpu").runner(path, threads=2)
    found = [next(iter(runner.run({"input": x.numpy()}).values())).argmax(1) == y.numpy() for x, y in batches]
    return np.concatenate(found).astype(np.float64)


def compare(folder: Path, batches: Any) -> tuple[Any, Interval, dict[str, float]]:
    """Interleaved speed-up at 1 thread, paired drop in points, top-1 of both artefacts, all measured here."""
    files = {"baseline": folder / "baseline.onnx", "result": folder / "model.onnx"}
    right = {name: correct(path, batches) for name, path in files.items()}
    feeds = {"input": next(iter(batches))[0][:1].numpy()}
    timings = time_files(files, find_target("cpu"), feeds)
    drop = mean_interval(100 * (right["baseline"] - right["result"]))
    return (
        ratio(timings["baseline"], timings["result"]),
        drop,
        {name: float(hit.mean()) for name, hit in right.items()},
    )


def planned(options: Any) -> Plan:
    """What the options ask for, before the epochs are fitted."""
    if options.smoke:
        return Plan(options.width, 0.5, 8, 1, None, 512, 500)
    augment = None if options.augment == "none" else options.augment
    return Plan(
        options.width,
        options.ratio,
        16,
        2,
        augment,
        None,
        None,
        options.teacher,
        1,
        options.distil,
        options.quantize,
    )


def chosen_plan(options: Any, folder: Path, loader: Any) -> Plan:
    """The plan that the folder holds, or a new one from a probe."""
    path, wanted = folder / "chain.json", planned(options)
    if path.exists():
        kept = read_json(path)
        if kept["wanted"] != asdict(wanted) or kept["seed"] != options.seed:
            raise BadInput(
                f"--out: '{folder}' holds another plan. Give the options it was started with, or another "
                "--out."
            )
        return Plan(**kept["plan"])
    epoch = probe(wanted, loader, batches=2 if options.smoke else options.batches)
    plan = wanted if options.smoke else fitted(wanted, epoch, minutes=options.minutes)
    tell(plan, epoch)
    if not options.probe:
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"wanted": asdict(wanted), "plan": asdict(plan), "seed": options.seed}
        write_json(path, {**facts, "seconds_an_epoch": epoch})
    return plan


def run(options: Any, cases: Cases) -> int:
    """Plan, teacher, chain, comparison."""
    import torch

    from edgekit.data.source import resolve_data
    from edgekit.pipeline import compress_recipe

    torch.set_num_threads(options.threads)
    folder, full = Path(options.out), not options.smoke
    spec = planned(options).recipe(DATA, options.root, full=full, seed=options.seed)
    loaders, _ = resolve_data({spec.data: dict(spec.data_options)}, batch=spec.batch, seed=options.seed)
    plan = chosen_plan(options, folder, loaders.train)
    if options.probe:
        return 0
    watch, weights = Stopwatch(folder / "seconds.json"), folder / "teacher.safetensors"
    recipe = plan.recipe(DATA, options.root, full=full, seed=options.seed)
    train_teacher(recipe, weights, folder / "teacher", plan, watch)
    recipe = replace(recipe, weights=str(weights.resolve()))
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    result = compress_recipe(recipe, out=folder, progress=watch.say)
    watch.say("chain: done")
    minutes = watch.seconds / 60
    speed, drop, top1 = compare(folder, loaders.validation)
    met = speed.value >= FASTER and drop.value <= DROP and minutes <= MINUTES
    cases.add(
        f"resnet8 width {plan.width}",
        met=None if options.smoke else bool(met),
        asked=f">= {FASTER:g}x, <= {DROP} point, <= {MINUTES:g} min",
        speed_up=as_pair(speed),
        drop_points=as_pair(drop),
        minutes=round(minutes, 1),
        starts=int(watch.before["starts"]),
        top1=top1,
        plan=asdict(plan),
        precision=result.report["result"]["precision"],
        report_ratio=result.report["ratio"]["latency"],
        report_drop=result.report["drop"],
        sha256=hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
        threads=options.threads,
    )
    return cases.finish(["speed_up", "drop_points", "minutes", "top1"])


def main() -> int:
    """0 where all is met, 1 where something is missed, 2 for bad input."""
    options = parser(__doc__, smoke="512 training images, 500 test images of the sample, 1 epoch a stage")
    options.add_argument("--out", default="runs/chain")
    options.add_argument("--root", help="folder of the full Fashion-MNIST's IDX files")
    options.add_argument("--width", type=int, default=64)
    options.add_argument(
        "--ratio", type=float, default=0.5, help="of channels removed; 0.5 leaves width 32, 0.75 width 16"
    )
    options.add_argument("--augment", default="flip-crop", choices=["flip-crop", "none"])
    options.add_argument(
        "--teacher", type=int, default=12, help="epochs, before they are fitted to --minutes"
    )
    options.add_argument("--distil", type=int, default=16, help="epochs, before they are fitted to --minutes")
    options.add_argument(
        "--quantize", type=int, default=3, help="epochs, before they are fitted to --minutes"
    )
    options.add_argument(
        "--minutes", type=float, default=50.0, help="what the whole may take, with a margin to 60"
    )
    options.add_argument("--batches", type=int, default=8, help="of the probe, for each width")
    options.add_argument("--threads", type=int, default=2, help="of training")
    options.add_argument("--probe", action="store_true", help="print the estimated time and stop")
    chosen = options.parse_args()
    try:
        return run(chosen, Cases("chain", chosen.seed))
    except EdgekitError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
