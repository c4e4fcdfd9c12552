"""The networks FINN is measured on, in float: TFC, SFC and LFC (fully connected) and CNV (VGG-like)."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from edgekit.errors import BadInput
from edgekit.zoo.norm import biased, norm1d, normalized, positive


class Tfc(nn.Module):
    """flatten, three layers of linear, BatchNorm and ReLU, then a linear head."""

    def __init__(self, in_features: int, width: int, num_classes: int) -> None:
        super().__init__()
        sizes = [in_features, width, width, width]
        self.hidden = nn.Sequential(
            *(
                layer
                for before, size in itertools.pairwise(sizes)
                for layer in (nn.Linear(before, size, bias=False), nn.BatchNorm1d(size), nn.ReLU())
            )
        )
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.hidden(torch.flatten(x, 1)))


class Cnv(nn.Module):
    """Three pairs of unpadded 3x3 convolutions (pooled after the first two), two wide layers, a linear
    head."""

    def __init__(self, width: int, num_classes: int, in_channels: int, norm: str, image_size: int) -> None:
        super().__init__()
        sizes, side, before = [width, 2 * width, 4 * width], image_size, in_channels
        layers: list[nn.Module] = []
        for stage, size in enumerate(sizes):
            for inputs in (before, size):
                layers.append(nn.Conv2d(inputs, size, 3, bias=biased(norm)))
                layers += normalized(norm, size, nn.ReLU())
            before, side = size, side - 4
            if stage < 2:
                layers.append(nn.MaxPool2d(2))
                side //= 2
        if side < 1:
            raise BadInput(
                f"cnv: an image of {image_size} pixels is used up by its convolutions. Give at least 32."
            )
        self.features, wide = nn.Sequential(*layers), 8 * width
        self.hidden = nn.Sequential(
            nn.Linear(sizes[-1] * side * side, wide, bias=biased(norm)),
            *normalized(norm, wide, nn.ReLU(), norm=norm1d),
            nn.Linear(wide, wide, bias=biased(norm)),
            *normalized(norm, wide, nn.ReLU(), norm=norm1d),
        )
        self.fc = nn.Linear(wide, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.hidden(torch.flatten(self.features(x), 1)))


def tfc(*, in_features: int = 784, width: int = 64, num_classes: int = 10) -> nn.Module:
    """TFC for [n, 1, 28, 28]: three layers of 64; Umuroglu et al. 2017 (FINN)."""
    positive("width", width)
    return Tfc(in_features, width, num_classes)


def sfc(*, in_features: int = 784, width: int = 256, num_classes: int = 10) -> nn.Module:
    """SFC for [n, 1, 28, 28]: three layers of 256; Umuroglu et al. 2017 (FINN)."""
    return tfc(in_features=in_features, width=width, num_classes=num_classes)


def lfc(*, in_features: int = 784, width: int = 1024, num_classes: int = 10) -> nn.Module:
    """LFC for [n, 1, 28, 28]: three layers of 1024; Umuroglu et al. 2017 (FINN)."""
    return tfc(in_features=in_features, width=width, num_classes=num_classes)


def cnv(
    *, width: int = 64, num_classes: int = 10, in_channels: int = 3, norm: str = "batch", image_size: int = 32
) -> nn.Module:
    """CNV for [n, 3, 32, 32]; Umuroglu et al. 2017 (FINN)."""
    positive("width", width)
    return Cnv(width, num_classes, in_channels, norm, image_size)
