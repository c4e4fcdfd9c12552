"""The training samples in memory, as batches for many agents at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True)
class Samples:
    """Inputs [n, ...] and targets [n]; input = raw * scale + shift, so that images stay bytes until they are used.

    scale and shift broadcast against a sample; None where the raw values are the inputs.
    """

    x: torch.Tensor
    y: torch.Tensor
    scale: torch.Tensor | None = None
    shift: torch.Tensor | None = None

    def take(self, index: npt.NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """(inputs [*index.shape, ...], targets [*index.shape]) of some samples."""
        where = torch.from_numpy(index).to(self.x.device).reshape(-1)
        shape = (*index.shape, *self.x.shape[1:])
        # flat rows: copying them whole is four times as fast as indexing samples of several dimensions
        raw = self.x.reshape(len(self.x), -1).index_select(0, where)
        targets = self.y.index_select(0, where).reshape(*index.shape, *self.y.shape[1:])
        if self.scale is None or self.shift is None:
            return raw.reshape(shape), targets
        inputs = raw.to(self.scale.dtype).reshape(shape)
        return inputs.mul_(self.scale).add_(self.shift), targets

    def to(self, device: str, dtype: torch.dtype) -> Samples:
        """The same on a device, with inputs of a floating type."""
        cast = lambda value: None if value is None else value.to(device, dtype)  # noqa: E731
        x = self.x.to(device) if self.scale is not None else self.x.to(device, dtype)
        y = self.y.to(device, dtype) if self.y.is_floating_point() else self.y.to(device)
        return Samples(x, y, cast(self.scale), cast(self.shift))

    def __len__(self) -> int:
        return len(self.x)
