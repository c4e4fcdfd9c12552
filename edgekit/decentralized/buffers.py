"""Large rows that are used again: asking the system for hundreds of megabytes anew costs more than adding them."""

from __future__ import annotations

from collections.abc import Iterable

import torch


class Buffers:
    """Lends tensors for one round; what no state holds at its end is lent again."""

    def __init__(self) -> None:
        self._free: list[torch.Tensor] = []
        self._lent: list[torch.Tensor] = []

    def lend(self, like: torch.Tensor, rows: int | None = None) -> torch.Tensor:
        """An uninitialized tensor of the shape (with `rows` rows, where given), dtype and device of `like`."""
        shape = like.shape if rows is None else (rows, *like.shape[1:])
        for index, candidate in enumerate(self._free):
            same = candidate.dtype == like.dtype and candidate.device == like.device
            if same and candidate.shape == shape:
                found = self._free.pop(index)
                break
        else:
            found = torch.empty(shape, dtype=like.dtype, device=like.device)
        self._lent.append(found)
        return found

    def reclaim(self, held: Iterable[torch.Tensor]) -> None:
        """Take back everything lent but what shares memory with a tensor that is held."""
        if not self._lent:
            return
        kept = {tensor.untyped_storage().data_ptr() for tensor in held}
        still = [tensor for tensor in self._lent if tensor.untyped_storage().data_ptr() in kept]
        self._free += [tensor for tensor in self._lent if tensor.untyped_storage().data_ptr() not in kept]
        self._lent = still
