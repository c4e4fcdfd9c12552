"""DS-CNN: keyword spotting on MFCC images."""

from __future__ import annotations

import torch
from torch import nn

from edgekit.zoo.mobilenet import Separable
from edgekit.zoo.norm import biased, normalized, positive


class DsCnn(nn.Module):
    """A 10x4 stem with stride 2, four separable blocks, global average, linear head."""

    def __init__(self, width: int, num_classes: int, in_channels: int, norm: str) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, (10, 4), 2, padding=(5, 1), bias=biased(norm)),
            *normalized(norm, width, nn.ReLU()),
        )
        self.blocks = nn.Sequential(*(Separable(width, width, 1, norm) for _ in range(4)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


def ds_cnn(*, width: int = 64, num_classes: int = 12, in_channels: int = 1, norm: str = "batch") -> nn.Module:
    """DS-CNN for [n, 1, 49, 10] (frames, coefficients); Zhang, Suda, Lai, Chandra 2017, as in MLPerf Tiny."""
    positive("width", width)
    return DsCnn(width, num_classes, in_channels, norm)
