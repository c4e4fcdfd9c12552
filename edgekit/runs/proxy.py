"""The proxy of an agent's data: how a few local steps from the common start turn its classifier.

It stands for the label distribution where that may not leave the agent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from edgekit.decentralized.model_objective import ModelObjective

STEPS, RATE = 20, 0.05


def proxies(objective: ModelObjective, rows: torch.Tensor, agents: Sequence[int]) -> npt.NDArray[np.floating]:
    """Normalized changes [n, k] of the last layer's weights after 20 local SGD steps on the data of `agents`."""
    moved = rows.clone()
    for draw in range(STEPS):
        objective.descend(moved, moved, list(agents), [draw] * len(agents), RATE)
    last = next(item for item in reversed(objective.layout.slices) if len(item.shape) > 1)
    change = (moved - rows)[:, last.start :].double()
    return (change / change.norm(dim=1, keepdim=True).clamp_min(1e-12)).cpu().numpy()
