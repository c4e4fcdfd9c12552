"""MobileNetV1: a chain of depthwise separable convolutions."""

from __future__ import annotations

import torch
from torch import nn

from edgekit.zoo.norm import biased, normalized, positive

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


class Separable(nn.Module):
    """relu(bn(depthwise 3x3)), then relu(bn(pointwise 1x1))."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=biased(norm))
        self.bn1, self.relu1 = normalized(norm, inputs, nn.ReLU())
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=biased(norm))
        self.bn2, self.relu2 = normalized(norm, outputs, nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.bn1(self.depthwise(x)))
        return self.relu2(self.bn2(self.pointwise(x)))


class MobileNetV1(nn.Module):
    """Stem with stride 2, thirteen separable blocks, global average, linear head."""

    def __init__(self, width: float, num_classes: int, in_channels: int, norm: str) -> None:
        super().__init__()
        sizes = [max(1, int(outputs * width)) for outputs, _ in BLOCKS]
        first = max(1, int(32 * width))
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, first, 3, 2, padding=1, bias=biased(norm)),
            *normalized(norm, first, nn.ReLU()),
        )
        self.blocks = nn.Sequential(
            *(
                Separable(before, size, stride, norm)
                for before, size, (_, stride) in zip([first, *sizes], sizes, BLOCKS, strict=False)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(sizes[-1], num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


def mobilenet_v1(
    *, width: float = 0.25, num_classes: int = 10, in_channels: int = 3, norm: str = "batch"
) -> nn.Module:
    """MobileNetV1 for [n, 3, 96, 96] (any size); `width` multiplies every channel count. Howard et al.
    2017."""
    positive("width", width)
    return MobileNetV1(width, num_classes, in_channels, norm)
