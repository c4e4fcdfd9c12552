"""A data set in memory: raw samples, labels, and how a raw sample becomes a model's input."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from edgekit.data.loader import ArrayLoader
from edgekit.errors import BadInput
from edgekit.job import Data
from edgekit.signature import Preprocessing

Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # train_x, train_y, test_x, test_y


@dataclass(frozen=True)
class Dataset:
    """Samples [n, ...] (uint8 images NCHW, or float32) with labels [n], or None where there are none.

    `groups` [n_train] names the natural owner of each training sample (a speaker, a writer), if there is one.
    """

    name: str
    train_x: np.ndarray = field(repr=False)
    train_y: np.ndarray | None = field(repr=False)
    test_x: np.ndarray = field(repr=False)
    test_y: np.ndarray | None = field(repr=False)
    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    licence: str = ""
    groups: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            _check_part(self.name, part, getattr(self, f"{part}_x"), getattr(self, f"{part}_y"), self.classes)
        if self.train_x.shape[1:] != self.test_x.shape[1:]:
            raise BadInput(
                f"data '{self.name}': a training sample is {list(self.train_x.shape[1:])}, a test sample "
                f"{list(self.test_x.shape[1:])}. Bring both to one shape."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample, without the batch."""
        return tuple(self.train_x.shape[1:])

    def describe(self) -> dict[str, Any]:
        """Name, sizes, sample shape, dtype, classes, groups, licence as plain JSON types."""
        return {
            "name": self.name,
            "train": len(self.train_x),
            "test": len(self.test_x),
            "shape": list(self.shape),
            "dtype": str(self.train_x.dtype),
            "classes": list(self.classes),
            "licence": self.licence,
            "groups": [] if self.groups is None else sorted({str(group) for group in self.groups}),
        }

    @cached_property
    def digest(self) -> str:
        """sha256 over dtype, shape and bytes of the four arrays."""
        state = hashlib.sha256()
        for values in (self.train_x, self.train_y, self.test_x, self.test_y):
            if values is not None:
                state.update(f"{values.dtype}{values.shape}".encode())
                state.update(np.ascontiguousarray(values).data)
            state.update(b"|")
        return state.hexdigest()

    def loaders(
        self,
        *,
        batch: int = 64,
        seed: int = 0,
        validation_batch: int = 256,
        calibration: int = 512,
        train_limit: int | None = None,
        test_limit: int | None = None,
        augment: str | None = None,
    ) -> Data:
        """Loaders of normalized float32 inputs and int64 targets, with a seeded subset where a limit is
        given.

        Calibration inputs come from the training samples only. The fingerprint is the sha256 of the bytes and
        of these settings. Raises BadInput for a limit below 1.
        """
        settings = {
            "batch": batch,
            "seed": seed,
            "calibration": calibration,
            "train_limit": train_limit,
            "test_limit": test_limit,
            "augment": augment,
            "preprocessing": repr(self.preprocessing),
        }
        train = subset(len(self.train_x), train_limit, seed=seed, purpose="train_limit")
        test = subset(len(self.test_x), test_limit, seed=seed, purpose="test_limit")
        chosen = train[subset(len(train), calibration, seed=seed, purpose="calibration")]
        return Data(
            train=self._loader("train", train, batch, shuffle=True, seed=seed, augment=augment),
            validation=self._loader("test", test, validation_batch),
            calibration=ArrayLoader(self.train_x[chosen], batch=batch, preprocessing=self.preprocessing),
            name=self.name,
            fingerprint=_fingerprint(self.digest, settings),
        )

    def _loader(self, part: str, index: np.ndarray, batch: int, **options: Any) -> ArrayLoader:
        x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
        if len(index) < len(x):
            x, y = x[index], None if y is None else y[index]
        return ArrayLoader(x, y, batch=batch, preprocessing=self.preprocessing, **options)


def subset(count: int, limit: int | None, *, seed: int, purpose: str) -> np.ndarray:
    """Indices of a subset of `limit` out of `count`, in ascending order, drawn from (seed, purpose)."""
    if limit is None or limit >= count:
        return np.arange(count)
    if limit < 1:
        raise BadInput(f"{purpose}: {limit} keeps no sample. Give at least 1.")
    key = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "little")
    return np.sort(np.random.default_rng((seed, key)).choice(count, limit, replace=False))


def _fingerprint(digest: str, settings: dict[str, Any]) -> str:
    return hashlib.sha256((digest + json.dumps(settings, sort_keys=True)).encode()).hexdigest()


def _check_part(name: str, part: str, x: np.ndarray, y: np.ndarray | None, classes: tuple[str, ...]) -> None:
    if len(x) == 0:
        raise BadInput(f"data '{name}': the {part} part is empty. Give at least one sample.")
    if y is None:
        return
    if len(x) != len(y):
        raise BadInput(
            f"data '{name}': {len(x)} {part} samples have {len(y)} labels. Give one label a sample."
        )
    if classes and (int(y.max()) >= len(classes) or int(y.min()) < 0):
        raise BadInput(
            f"data '{name}': the {part} labels run from {int(y.min())} to {int(y.max())}, but there are "
            f"{len(classes)} classes. Labels are 0 to {len(classes) - 1}."
        )
