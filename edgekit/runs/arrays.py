"""The data of a run in memory: training samples to be divided, and test samples that all are evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgekit.data.dataset import Dataset, subset
from edgekit.data.loader import normalize
from edgekit.data.source import resolve_data
from edgekit.decentralized.keys import key
from edgekit.decentralized.samples import Samples
from edgekit.errors import BadInput
from edgekit.signature import Preprocessing

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Arrays:
    """Training samples, their labels [n] where they are classes, their natural groups; test inputs and targets.

    classes are their names; dataset is where they came from, for models that fit themselves to it.
    """

    train: Samples
    labels: Ints | None
    groups: npt.NDArray[Any] | None
    test_x: torch.Tensor
    test_y: torch.Tensor
    classes: tuple[str, ...]
    dataset: Dataset | None
    raw_test: npt.NDArray[Any]  # the test samples as they are in the data set

    def held_out(self, part: float, seed: int) -> Arrays:
        """The same with a part of the training samples in place of the test samples, and not trained on."""
        count = len(self.train)
        chosen = np.random.default_rng(key(seed, "validation")).permutation(count)
        test, rest = np.sort(chosen[: int(part * count)]), np.sort(chosen[int(part * count) :])
        x, y = self.train.take(test)
        keep = torch.from_numpy(rest)
        train = Samples(self.train.x[keep], self.train.y[keep], self.train.scale, self.train.shift)
        pick = lambda values: None if values is None else values[rest]  # noqa: E731
        return Arrays(
            train,
            pick(self.labels),
            pick(self.groups),
            x,
            y,
            self.classes,
            self.dataset,
            self.train.x[torch.from_numpy(test)].numpy(),
        )


def load_arrays(name: str, options: Mapping[str, Any], *, seed: int = 0) -> Arrays:
    """The data that a run file names; BadInput where they have no targets or no test part."""
    given = dict(options)
    limits = {key: given.pop(key) for key in ("train_limit", "test_limit") if key in given}
    data, dataset = resolve_data({name: given} if given else name, seed=seed)
    if dataset is None:
        return _from_loaders(data, name)
    if dataset.train_y is None or dataset.test_y is None:
        raise BadInput(
            f"data '{name}': it has no labels, so nothing can be trained on it. Give labelled data."
        )
    train = subset(len(dataset.train_x), limits.get("train_limit"), seed=seed, purpose="train_limit")
    test = subset(len(dataset.test_x), limits.get("test_limit"), seed=seed, purpose="test_limit")
    targets = dataset.train_y[train]
    return Arrays(
        _samples(dataset.train_x[train], targets, dataset.preprocessing),
        _labels(targets),
        None if dataset.groups is None else dataset.groups[train],
        torch.from_numpy(normalize(dataset.test_x[test], dataset.preprocessing)),
        _targets(dataset.test_y[test]),
        dataset.classes,
        dataset,
        dataset.test_x[test],
    )


def _samples(x: npt.NDArray[Any], y: npt.NDArray[Any], how: Preprocessing) -> Samples:
    """input = raw (scale / std) - mean / std, channel by channel."""
    spread = (-1,) + (1,) * (x.ndim - 2)
    std = torch.tensor(how.std).reshape(spread)
    return Samples(
        torch.from_numpy(np.ascontiguousarray(x)),
        _targets(y),
        how.scale / std,
        -torch.tensor(how.mean).reshape(spread) / std,
    )


def _from_loaders(data: Any, name: str) -> Arrays:
    if data.train is None or data.validation is None:
        raise BadInput(f"data '{name}': a run needs a train part and a validation part. Return both.")
    train, test = (_stacked(part, name) for part in (data.train, data.validation))
    classes = tuple(str(index) for index in range(int(train[1].max()) + 1)) if _is_integer(train[1]) else ()
    labels = _labels(train[1].numpy())
    return Arrays(Samples(*train), labels, None, test[0], test[1], classes, None, test[0].numpy())


def _stacked(batches: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = []
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise BadInput(f"data '{name}': a batch is no pair (input, target). Give batches of both.")
        pairs.append(batch)
    x, y = (torch.cat([torch.as_tensor(np.asarray(pair[place])) for pair in pairs]) for place in (0, 1))
    return x.float(), y.long() if _is_integer(y) else y.float()


def _is_integer(values: torch.Tensor) -> bool:
    return not values.is_floating_point() and values.dim() == 1


def _labels(targets: npt.NDArray[Any]) -> Ints | None:
    whole = np.issubdtype(targets.dtype, np.integer) and targets.ndim == 1
    return targets.astype(np.int64) if whole else None


def _targets(values: npt.NDArray[Any]) -> torch.Tensor:
    kind = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float32
    return torch.from_numpy(values.astype(kind))
