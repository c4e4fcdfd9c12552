"""GN-LeNet: the small convolutional network of decentralized learning studies."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from edgekit.errors import BadInput
from edgekit.zoo.norm import positive


class GnLeNet(nn.Module):
    """Three 5x5 convolutions, each pooled, normalized by groups and rectified, then a linear head."""

    def __init__(self, width: int, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        sizes = [in_channels, width, width, 2 * width]
        self.features = nn.Sequential(
            *(
                layer
                for before, size in itertools.pairwise(sizes)
                for layer in (
                    nn.Conv2d(before, size, 5, padding=2),
                    nn.MaxPool2d(2),
                    nn.GroupNorm(2, size),
                    nn.ReLU(),
                )
            )
        )
        self.fc = nn.Linear(sizes[-1] * (image_size // 8) ** 2, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.features(x), 1))


def gn_lenet(
    *, width: int = 32, num_classes: int = 10, in_channels: int = 3, image_size: int = 32
) -> nn.Module:
    """GN-LeNet for [n, 3, 32, 32]; Hsieh, Phanishayee, Mutlu, Gibbons 2020. `width` is even."""
    positive("width", width)
    if width % 2:
        raise BadInput(f"width: {width} does not split into the two groups of gn_lenet. Give an even number.")
    return GnLeNet(width, num_classes, in_channels, image_size)
