"""The plan of the chain: its recipe, a probe of a few batches, and the epochs that fit into the time."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median
from typing import Any

from edgekit.recipe import Recipe

FIXED = 240.0  # seconds for the dry run, evaluations, the choice and the report
TEACHER_RATE, STUDENT_RATE = 2e-3, 1e-3


@dataclass(frozen=True)
class Plan:
    """What one output folder holds: the network, the cut, and the epochs of each stage."""

    width: int
    ratio: float
    multiple: int
    rounds: int
    augment: str | None
    train_limit: int | None
    test_limit: int | None
    teacher: int = 1
    prune: int = 1
    distil: int = 1
    quantize: int = 1

    def recipe(self, data: str, root: str | None, *, full: bool, seed: int) -> Recipe:
        """The recipe without weights; `data` names what makes the data set."""
        from edgekit.transforms.distil import Distil
        from edgekit.transforms.prune import Prune
        from edgekit.transforms.quantize import Quantize

        options = {
            "root": root,
            "full": full,
            "augment": self.augment,
            "train_limit": self.train_limit,
            "test_limit": self.test_limit,
        }
        steps = (
            Prune(
                ratio=self.ratio,
                multiple=self.multiple,
                rounds=self.rounds,
                epochs_each=self.prune,
                lr=STUDENT_RATE,
            ),
            Distil(epochs=self.distil, temperature=4.0, weight=0.7, lr=TEACHER_RATE),
            Quantize(epochs=self.quantize),
        )
        return Recipe(
            model="resnet8",
            model_options={"width": self.width, "in_channels": 1},
            data=data,
            seed=seed,
            steps=steps,
            data_options={name: value for name, value in options.items() if value is not None},
        )


def probe(plan: Plan, loader: Any, *, batches: int) -> dict[str, float]:
    """Seconds of one epoch of each stage, from a few batches; a faked step counts 1.5 times."""
    import torch

    from edgekit.zoo.resnet import resnet8

    final = round(plan.width * (1 - plan.ratio))
    widths = [
        plan.width - round((plan.width - final) * part / plan.rounds) for part in range(plan.rounds + 1)
    ]
    seconds = {
        width: _step_seconds(resnet8(width=width, in_channels=1), loader, batches) for width in set(widths)
    }
    teacher = resnet8(width=plan.width, in_channels=1).eval()
    with torch.no_grad():
        ask = _median_seconds(lambda batch: teacher(batch[0]), loader, batches)
    found = {
        "teacher": seconds[plan.width],
        "prune": sum(seconds[width] for width in widths[1:]),
        "distil": seconds[final] + ask,
        "quantize": 1.5 * seconds[final],
    }
    return {stage: round(value * len(loader), 2) for stage, value in found.items()}


def _step_seconds(model: Any, loader: Any, batches: int) -> float:
    import torch
    from torch.nn import functional as F

    optimizer = torch.optim.AdamW(model.train().parameters())

    def step(batch: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    return _median_seconds(step, loader, batches)


def _median_seconds(step: Callable[[Any], object], loader: Any, batches: int) -> float:
    """The median of a step with the loading of its batch, without the first."""
    times, last = [], time.perf_counter()
    for batch in islice(iter(loader), batches + 1):
        step(batch)
        times.append(time.perf_counter() - last)
        last = time.perf_counter()
    return median(times[1:])


def estimate(plan: Plan, epoch: dict[str, float]) -> float:
    """Seconds of the whole chain."""
    return FIXED + sum(epoch[stage] * getattr(plan, stage) for stage in epoch)


def fitted(plan: Plan, epoch: dict[str, float], *, minutes: float) -> Plan:
    """The plan with its epochs scaled, up to 1.5 times, to what fits into `minutes`."""
    share = (60 * minutes - FIXED) / (estimate(plan, epoch) - FIXED)
    scale = min(1.5, share)
    return replace(
        plan,
        **{stage: max(1, int(getattr(plan, stage) * scale)) for stage in ("teacher", "distil", "quantize")},
    )


def tell(plan: Plan, epoch: dict[str, float]) -> None:
    """Print the probe, the epochs and the estimate."""
    stages = f"teacher {plan.teacher}, prune {plan.rounds} x {plan.prune}, distil {plan.distil}"
    print(f"seconds an epoch: {json.dumps(epoch)}", file=sys.stderr)
    print(f"epochs: {stages}, quantize {plan.quantize}", file=sys.stderr)
    print(
        f"estimated {estimate(plan, epoch) / 60:.1f} minutes in all, {FIXED / 60:g} of them an allowance "
        f"for what is not training; load {os.getloadavg()[0]:.1f}",
        file=sys.stderr,
    )
