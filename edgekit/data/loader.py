"""A re-iterable loader of torch batches over numpy arrays, with a permutation that is a function of the
epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import BadInput, did_you_mean
from edgekit.signature import Preprocessing

if TYPE_CHECKING:
    import torch

AUGMENTATIONS = ("flip-crop",)


class ArrayLoader:
    """Batches (input float32 [batch, ...], target [batch]) of arrays; inputs alone where there are no
    targets.

    The order of epoch e is the permutation drawn from (seed, e): the same in every process, whatever was
    iterated before. A shuffled remainder of one sample is left out, since BatchNorm cannot train on it.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray | None = None,
        *,
        batch: int = 64,
        preprocessing: Preprocessing | None = None,
        shuffle: bool = False,
        seed: int = 0,
        augment: str | None = None,
    ) -> None:
        if batch < 1:
            raise BadInput(f"batch: {batch} is not a batch size. Give a whole number of at least 1.")
        if augment is not None and augment not in AUGMENTATIONS:
            raise BadInput(f"augment: '{augment}' is unknown. {did_you_mean(augment, AUGMENTATIONS)}")
        if augment is not None and x.ndim != 4:
            raise BadInput(
                f"augment: '{augment}' needs images [n, channels, height, width], the data are "
                f"{list(x.shape)}. Drop augment."
            )
        self.x, self.y, self.batch, self.seed, self.epoch = x, y, batch, seed, 0
        self.preprocessing = preprocessing or Preprocessing()
        self.shuffle, self.augment = shuffle, augment

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation and the augmentation of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.x), self.batch)
        return whole + (rest > 0 and not self._drops(rest))

    def __iter__(self) -> Iterator[Any]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.x)) if self.shuffle else np.arange(len(self.x))
        for start in range(0, len(self) * self.batch, self.batch):
            yield self._load(order[start : start + self.batch], generator)

    def _drops(self, rest: int) -> bool:
        return self.shuffle and rest == 1 and len(self.x) > 1

    def _load(self, index: np.ndarray, generator: np.random.Generator) -> Any:
        import torch

        raw = self.x[index]
        if self.augment:
            raw = flip_crop(raw, generator)
        inputs = torch.from_numpy(normalize(raw, self.preprocessing))
        return inputs if self.y is None else (inputs, _target(self.y[index]))


def _target(values: np.ndarray) -> torch.Tensor:
    import torch

    kind = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float32
    return torch.from_numpy(values.astype(kind))


def normalize(raw: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """(raw * scale - mean) / std in float32; mean and std hold one value, or one for each entry of axis 1."""
    spread = (1, -1) + (1,) * (raw.ndim - 2)
    mean, std = (
        np.asarray(value, np.float32).reshape(spread) for value in (preprocessing.mean, preprocessing.std)
    )
    return ((raw.astype(np.float32) * np.float32(preprocessing.scale) - mean) / std).astype(np.float32)


def channel_values(value: Sequence[float] | float) -> tuple[float, ...]:
    """One number, or one a channel, as the tuple that Preprocessing holds."""
    return (float(value),) if isinstance(value, (int, float)) else tuple(float(item) for item in value)


def flip_crop(images: np.ndarray, generator: np.random.Generator, *, margin: float = 0.125) -> np.ndarray:
    """Mirror each image [n, c, h, w] with probability 1/2 and shift it by up to margin * size, zeros at the
    rim.

    He, Zhang, Ren, Sun 2016 (4 pixels of 32).
    """
    count, _, height, width = images.shape
    down, across = max(1, round(margin * height)), max(1, round(margin * width))
    padded = np.pad(images, ((0, 0), (0, 0), (down, down), (across, across)))
    top = generator.integers(0, 2 * down + 1, count)
    left = generator.integers(0, 2 * across + 1, count)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    result = windows[np.arange(count), :, top, left]
    flip = generator.random(count) < 0.5
    result[flip] = result[flip][..., ::-1]
    return result
