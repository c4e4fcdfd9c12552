"""The layout of a row: which slice of it is which tensor of the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from edgekit.codecs.codec import RowSpec


@dataclass(frozen=True)
class Slice:
    """One tensor of the model in a row: values start .. stop, in `shape`."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """The slices of a row, in order and without gaps.

    A row of weights holds the parameters that are trained; a row of buffers what a model keeps beside them (running
    statistics). Frozen parameters stay in the model, the same for all.
    """

    slices: tuple[Slice, ...]

    @classmethod
    def of(cls, tensors: Iterable[tuple[str, torch.Tensor]]) -> Layout:
        """The layout of named tensors."""
        slices, start = [], 0
        for name, value in tensors:
            stop = start + value.numel()
            slices.append(Slice(name, start, stop, tuple(value.shape)))
            start = stop
        return cls(tuple(slices))

    @classmethod
    def weights(cls, model: nn.Module) -> Layout:
        """The trained parameters of a model."""
        return cls.of((name, value) for name, value in model.named_parameters() if value.requires_grad)

    @classmethod
    def buffers(cls, model: nn.Module) -> Layout:
        """The floating-point buffers of a model that its state dict keeps."""
        kept = model.state_dict()
        return cls.of(
            (name, value)
            for name, value in model.named_buffers()
            if name in kept and value.is_floating_point()
        )

    @classmethod
    def flat(cls, size: int) -> Layout:
        """One slice of `size` values, for objectives without layers."""
        return cls((Slice("x", 0, size, (size,)),))

    @cached_property
    def size(self) -> int:
        """P, the length of a row."""
        return self.slices[-1].stop if self.slices else 0

    @cached_property
    def lengths(self) -> list[int]:
        """The length of each slice."""
        return [item.stop - item.start for item in self.slices]

    def spec(self, dtype: torch.dtype) -> RowSpec:
        """What a codec knows of a row."""
        known = self._specs.get(dtype)
        if known is None:
            layers = tuple((item.start, item.stop) for item in self.slices)
            known = self._specs[dtype] = RowSpec(self.size, str(dtype).removeprefix("torch."), layers)
        return known

    @cached_property
    def _specs(self) -> dict[torch.dtype, RowSpec]:
        return {}

    def views(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tensors in a row [P] or in rows [A, P]: views [*shape] or [A, *shape] by name."""
        lead = tuple(rows.shape[:-1])
        parts = rows.split(self.lengths, dim=-1)
        return {
            item.name: part.view(*lead, *item.shape) for item, part in zip(self.slices, parts, strict=True)
        }

    def pack(self, tensors: Mapping[str, torch.Tensor], out: torch.Tensor | None = None) -> torch.Tensor:
        """The row [P] of named tensors of the layout's shapes."""
        parts = [tensors[item.name].reshape(math.prod(item.shape)) for item in self.slices]
        return torch.cat(parts, out=out) if out is not None else torch.cat(parts)
