"""The kit of data sets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgekit.job import Data, as_array
from edgekit.testing.row import Row, fail, need, run_checks


def check_dataset(dataset: Any) -> list[Row]:
    """A data set: batches that can be read twice, finite inputs, labels in range, a fingerprint."""
    data = dataset.loaders(batch=32) if hasattr(dataset, "loaders") else dataset
    return run_checks(
        [
            ("is an edgekit.Data, or makes one", lambda: _is_data(data)),
            ("has batches to validate or train on", lambda: _has_batches(data)),
            ("gives the same batches twice", lambda: _same_twice(data)),
            ("its inputs are finite and of one shape", lambda: _sound_inputs(data)),
            (
                "its labels agree with its classes",
                lambda: _sound_labels(data, getattr(dataset, "classes", ())),
            ),
            (
                "has a fingerprint",
                lambda: data.fingerprint or fail("fingerprint is empty; resume could not see a change"),
            ),
        ]
    )


def _is_data(data: Data) -> str:
    need(
        isinstance(data, Data),
        f"it is a {type(data).__name__}; return edgekit.Data or an edgekit.data Dataset",
    )
    return data.name


def _parts(data: Data) -> Iterator[tuple[str, Any]]:
    for name in ("train", "validation", "calibration"):
        part = getattr(data, name)
        if part is not None:
            yield name, part


def _has_batches(data: Data) -> str:
    counts = {name: sum(1 for _ in part) for name, part in _parts(data)}
    need(bool(counts) and all(counts.values()), f"an empty part: {counts}")
    return ", ".join(f"{name} {count} batches" for name, count in counts.items())


def _same_twice(data: Data) -> str:
    for name, part in _parts(data):
        for one, two in zip(_arrays(part), _arrays(part), strict=True):
            need(
                len(one) == len(two) and all(map(np.array_equal, one, two)),
                f"{name}: a second pass differs; make its order a function of the epoch (set_epoch)",
            )
    return "every part"


def _sound_inputs(data: Data) -> str:
    shapes = set()
    for name, part in _parts(data):
        for arrays in _arrays(part):
            need(bool(np.isfinite(arrays[0]).all()), f"{name}: an input is NaN or infinite")
            shapes.add(arrays[0].shape[1:])
    need(len(shapes) == 1, f"samples have the shapes {sorted(map(str, shapes))}")
    return f"sample {list(shapes.pop())}"


def _sound_labels(data: Data, classes: tuple[str, ...]) -> str:
    labels = [arrays[1] for _, part in _parts(data) for arrays in _arrays(part) if len(arrays) > 1]
    if not labels:
        return "no labels: the metric will be null"
    flat = np.concatenate([values.reshape(-1) for values in labels])
    low, high = float(flat.min()), float(flat.max())
    need(math.isfinite(low) and math.isfinite(high), "a label is NaN or infinite")
    need(
        not classes or (low >= 0 and high < len(classes)),
        f"labels run from {low:g} to {high:g}, but there are {len(classes)} classes",
    )
    return f"{len(flat)} labels from {low:g} to {high:g}"


def _arrays(part: Any) -> Iterator[list[np.ndarray]]:
    for batch in part:
        values = batch if isinstance(batch, (tuple, list)) else [batch]
        yield [as_array(value) for value in values]
