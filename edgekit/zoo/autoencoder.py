"""The fully connected autoencoder of anomaly detection."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from edgekit.zoo.norm import positive


class FcAutoencoder(nn.Module):
    """Four layers down, a bottleneck, four layers up, each linear, BatchNorm and ReLU; a linear output."""

    def __init__(self, in_features: int, width: int, bottleneck: int) -> None:
        super().__init__()
        sizes = [in_features, *[width] * 4, bottleneck, *[width] * 4]
        self.hidden = nn.Sequential(
            *(
                layer
                for before, size in itertools.pairwise(sizes)
                for layer in (nn.Linear(before, size), nn.BatchNorm1d(size), nn.ReLU())
            )
        )
        self.fc = nn.Linear(width, in_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.hidden(x))


def fc_autoencoder(*, in_features: int = 640, width: int = 128, bottleneck: int = 8) -> nn.Module:
    """Autoencoder [n, 640] -> [n, 640] (5 frames of 128 mel bins); Koizumi et al. 2020 (DCASE task 2), MLPerf
    Tiny."""
    positive("width", min(width, bottleneck))
    return FcAutoencoder(in_features, width, bottleneck)
