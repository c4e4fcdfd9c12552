"""Results that others published, to stand beside one's own: MLPerf Tiny v1.0. They were not measured here.

`mlperf_tiny_v1.0.csv` is derived from the results at github.com/mlcommons/tiny_results_v1.0 (Apache License 2.0,
LICENSE.txt beside it): a line for each system and task that was submitted with performance.
"""

from __future__ import annotations

import csv
from importlib import resources
from typing import Any, Final

from edgekit.errors import BadInput, did_you_mean

SUITE: Final = "mlperf-tiny"
FILE: Final = "mlperf_tiny_v1.0.csv"
SOURCE: Final = "MLPerf Tiny v1.0, github.com/mlcommons/tiny_results_v1.0, Apache License 2.0"
TASKS: Final = {
    "ad": "anomaly detection (ToyADMOS, autoencoder)",
    "ic": "image classification (CIFAR-10, ResNet-8)",
    "kws": "keyword spotting (Speech Commands, DS-CNN)",
    "vww": "visual wake words (COCO, MobileNet 0.25)",
}
NUMBERS: Final = ("clock_mhz", "latency_ms", "energy_uj", "top1_percent", "auc")


def published(words: str) -> dict[str, Any]:
    """The rows of `mlperf-tiny` or `mlperf-tiny:TASK`, quickest first: {suite, task, source, note, rows}.

    latency_ms is 1000 over the median inferences a second of the performance run, energy_uj the median
    microjoules per inference of the energy run; None where it was not submitted. BadInput names what is known.
    """
    suite, _, task = words.partition(":")
    if suite != SUITE:
        raise BadInput(f"--published: '{suite}' is unknown. {did_you_mean(suite, [SUITE])}")
    if task and task not in TASKS:
        raise BadInput(f"--published: {SUITE} has no task '{task}'. {did_you_mean(task, TASKS)}")
    rows = [row for row in _rows() if task in ("", row["task"])]
    return {
        "suite": SUITE,
        "task": TASKS[task] if task else "all tasks",
        "source": SOURCE,
        "note": "published, not measured here",
        "rows": sorted(rows, key=lambda row: (row["task"], row["latency_ms"])),
    }


def _rows() -> list[dict[str, Any]]:
    text = resources.files("edgekit.profile.published").joinpath(FILE).read_text(encoding="utf-8")
    return [
        {name: _number(value) if name in NUMBERS else value for name, value in row.items()}
        for row in csv.DictReader(text.splitlines())
    ]


def _number(word: str) -> float | None:
    return float(word) if word else None
