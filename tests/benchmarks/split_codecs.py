"""Split learning with activations as uint8 beside the same runs with float32: bytes of activations, and accuracy.

Run by hand: python tests/benchmarks/split_codecs.py [--root FOLDER] [--seeds 5] [--gradients uint8 fp16]

A GroupNorm LeNet, U-shaped: the camera keeps images, labels, and the first and last segment, the edge computes the
middle. All is simulated, and every payload passes its codec, those of the test too. Trained on Fashion-MNIST, tested
on its whole test set (a folder of IDX files as --root, or the Debian package dataset-fashion-mnist) once the last step
is done. A seed sets weights, batches and rounding; the raw run and the others of a seed differ in the codecs alone.
Asked of uint8: at least 3.9 times fewer bytes of activations, at most 0.5 points lower accuracy in the mean over the
seeds. Its interval is paired over the test images (an image's mean over the seeds); that over the seeds, which also
holds how far two trainings differ, stands beside it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from common import Cases, as_pair, parser

from edgekit.errors import EdgekitError
from edgekit.profile.statistics import mean_interval
from edgekit.runs.split_file import parse_split
from edgekit.runs.split_run import SplitRun

FEWER, POINTS = 3.9, 0.5
TITLE = "values {values}, gradients {gradients}"
RUN = """
model: gn_lenet
data: {data}
seed: {seed}
steps: {steps}
batch: {batch}
evaluate_every: {steps}
optimizer: {{adam: {{lr: {lr}}}}}
split:
  cuts: [features.3, features.7]
  segments: [camera, edge, camera]
  inputs: camera
  labels: camera
"""


def source(options: Any) -> dict[str, dict[str, Any]]:
    """The data as a run file names them."""
    if options.root:
        return {"fashion-mnist": {"root": options.root}}
    if options.smoke:
        return {"fashion-mnist": {"train_limit": 256, "test_limit": 100}}
    return {"fashion-mnist": {"full": True}}


class Told:
    """A metric that keeps what it said of each sample in the latest test."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        self.samples = np.zeros(0)

    def __call__(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """What the metric says."""
        self.samples = np.asarray(self.metric(outputs, targets), np.float64)
        return self.samples


def trained(options: Any, seed: int, values: str, gradients: str) -> dict[str, Any]:
    """The last line of one run, with whether each test image was classified rightly, and the seconds it took."""
    began = time.perf_counter()
    text = RUN.format(
        data=json.dumps(source(options)),
        seed=seed,
        steps=options.steps,
        batch=options.batch,
        lr=options.lr,
    )
    overrides = [f"split.values={values}", f"split.gradients={gradients}"]
    run, document = parse_split(text, source="split_codecs.yaml", overrides=overrides)
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        split = SplitRun(run, document, Path(folder))
        split.part.metric = told = Told(split.part.metric)
        last: dict[str, Any] = split.finish()["last"]
    found = {**last, "right": told.samples, "took": time.perf_counter() - began}
    print(
        f"seed {seed}, {TITLE.format(values=values, gradients=gradients)}: {100 * found['metric']:.2f} % of "
        f"{len(told.samples):,}, {found['bytes_sent']['value']:,} bytes of values, {found['took']:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return found


def tell(
    cases: Cases, options: Any, codecs: tuple[str, str], runs: Sequence[Any], raw: Sequence[Any]
) -> None:
    """The case of one pair of codecs, over the seeds, beside raw with the same seeds."""
    values, gradients = codecs
    accuracy = [100 * run["metric"] for run in runs]
    gaps = 100 * np.stack([one["right"] - other["right"] for one, other in zip(raw, runs, strict=True)])
    ratios = {
        what: sum(run["bytes_sent"][what] for run in raw) / sum(run["bytes_sent"][what] for run in runs)
        for what in ("value", "gradient", "test")
    }
    drops, drop = gaps.mean(axis=1), mean_interval(gaps.mean(axis=0))
    judged = codecs == ("uint8", "raw")
    met = ratios["value"] >= FEWER and drop.value <= POINTS
    cases.add(
        TITLE.format(values=values, gradients=gradients),
        met=bool(met) if judged and not options.smoke else None,
        asked=f">= {FEWER}x fewer bytes of values, <= {POINTS} points" if judged else "nothing",
        value_bytes=round(np.mean([run["bytes_sent"]["value"] for run in runs])),
        gradient_bytes=round(np.mean([run["bytes_sent"]["gradient"] for run in runs])),
        value_ratio=round(ratios["value"], 4),
        gradient_ratio=round(ratios["gradient"], 4),
        test_ratio=round(ratios["test"], 4),
        accuracy=round(float(np.mean(accuracy)), 3),
        drop_points=as_pair(drop),
        drop_over_seeds=as_pair(mean_interval(drops)) if len(drops) > 1 else None,
        accuracies=[round(one, 2) for one in accuracy],
        drops=[round(float(gap), 2) for gap in drops],
        test_samples=gaps.shape[1],
        seeds=len(runs),
        model="gn_lenet",
        steps=options.steps,
        batch=options.batch,
        lr=options.lr,
        seconds=round(sum(run["took"] for run in runs), 1),
        threads=options.threads,
    )


def run(options: Any, cases: Cases) -> int:
    """All codecs with every seed, in turns."""
    import torch

    torch.set_num_threads(options.threads)
    sides = [("raw", "raw"), ("uint8", "raw"), *(("uint8", name) for name in options.gradients)]
    sides = list(dict.fromkeys(sides))
    found: dict[tuple[str, str], list[dict[str, Any]]] = {side: [] for side in sides}
    for seed in range(options.seed, options.seed + options.seeds):
        for side in sides:
            found[side].append(trained(options, seed, *side))
    for side in sides:
        tell(cases, options, side, found[side], found["raw", "raw"])
    return cases.finish(
        ["value_bytes", "value_ratio", "gradient_ratio", "accuracy", "drop_points", "drop_over_seeds"]
    )


def main() -> int:
    """0 where all is met, 1 where something is missed, 2 for bad input or without the data."""
    options = parser(__doc__, smoke="2 seeds, 3 steps, 256 + 100 images of the sample")
    options.add_argument("--root", help="folder of the full Fashion-MNIST's IDX files")
    options.add_argument("--seeds", type=int, default=5, help="how many, from --seed")
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--lr", type=float, default=0.0005, help="of Adam")
    options.add_argument(
        "--gradients", nargs="*", default=[], metavar="CODEC", help="also uint8 values with these"
    )
    options.add_argument("--threads", type=int, default=2)
    chosen = options.parse_args()
    if chosen.smoke:
        chosen.seeds, chosen.steps, chosen.batch = 2, 3, 16
    if chosen.seeds < 1:
        options.error("--seeds: give at least 1")
    try:
        return run(chosen, Cases("split_codecs", chosen.seed))
    except EdgekitError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
