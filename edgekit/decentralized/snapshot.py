"""The snapshot of an engine: all that decides how it goes on, as named tensors and plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from edgekit.decentralized.coding import Residuals

Tensors = dict[str, torch.Tensor]


@dataclass
class Snapshot:
    """Tensors by name, and facts as plain JSON."""

    tensors: Tensors = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def put(self, prefix: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copies of tensors under `prefix/name`."""
        self.tensors.update({f"{prefix}/{name}": value.detach().clone() for name, value in tensors.items()})

    def take(self, prefix: str) -> Tensors:
        """Copies of what was put under a prefix, by name."""
        head = f"{prefix}/"
        return {
            name.removeprefix(head): value.clone()
            for name, value in self.tensors.items()
            if name.startswith(head)
        }

    def put_residuals(self, residuals: Residuals) -> None:
        """What codecs keep."""
        self.facts["residuals"] = [list(name) for name in residuals.rows]
        rows = residuals.rows.values()
        self.put("residual", {str(index): torch.from_numpy(row) for index, row in enumerate(rows)})

    def take_residuals(self) -> Residuals:
        """What `put_residuals` put."""
        rows = self.take("residual")
        names = self.facts["residuals"]
        return Residuals(
            {(name[0], name[1], name[2]): rows[str(index)].numpy() for index, name in enumerate(names)}
        )
