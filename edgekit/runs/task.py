"""One run as a task for a process of its own: plain values in, the last line out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.yaml_lines import Document

VALIDATION = 0.1  # part of the training samples on which rates are tuned


@dataclass(frozen=True)
class Task:
    """values: the plain values of a run; folder: where its lines go; gradients: the way that was decided on;
    validation: evaluated on held-out training samples in place of the test samples.
    """

    values: Mapping[str, Any]
    source: str
    seed: int
    folder: Path
    gradients: str
    threads: int = 1
    validation: bool = False


def run_task(task: Task) -> dict[str, Any]:
    """{"last": line} of a finished run, or {"error": one line}; called in a process that does nothing else."""
    import torch

    from edgekit.runs.assemble import assemble
    from edgekit.runs.run_file import build_run
    from edgekit.runs.single import SingleRun

    torch.set_num_threads(task.threads)
    try:
        document = Document(task.source, dict(task.values))
        run = build_run(task.values, document)
        arrays = cached_arrays(run.data, run.data_options)
        if task.validation:
            arrays = arrays.held_out(VALIDATION, task.seed)
        made = assemble(run, task.seed, arrays=arrays, gradients=task.gradients)
        return {"last": SingleRun(made, task.folder).finish()}
    except EdgekitError as error:
        return {"error": str(error)}


def cached_arrays(name: str, options: Mapping[str, Any]) -> Any:
    """The arrays of a data set, loaded once a process."""
    return _arrays(name, json.dumps(options, sort_keys=True))


@lru_cache(maxsize=2)
def _arrays(name: str, options: str) -> Any:
    from edgekit.runs.arrays import load_arrays

    return load_arrays(name, json.loads(options))
