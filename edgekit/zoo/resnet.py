"""Residual networks: ResNet-8 of MLPerf Tiny and ResNet-18 of ImageNet."""

from __future__ import annotations

import torch
from torch import nn

from edgekit.zoo.norm import biased, norm2d, normalized, positive


class BasicBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)); the shortcut is a 1x1 convolution where shapes
    differ. With `evonorm` there is no relu at all, as in Aketi, Kodge and Roy, 2022."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str, *, shortcut_norm: bool) -> None:
        super().__init__()
        bias = biased(norm)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)
        self.bn1, self.relu1 = normalized(norm, outputs, nn.ReLU())
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.bn2, self.relu2 = normalized(norm, outputs, nn.ReLU())
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            layers = [nn.Conv2d(inputs, outputs, 1, stride, bias=bias and shortcut_norm)]
            self.shortcut = nn.Sequential(*layers, norm2d(norm, outputs)) if shortcut_norm else layers[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, stages of BasicBlocks, global average, linear head."""

    def __init__(self, stem: nn.Module, stages: list[nn.Module], features: int, num_classes: int) -> None:
        super().__init__()
        self.stem, self.stages = stem, nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(features, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.pool(self.stages(self.stem(x))), 1))


def resnet8(
    *, width: int = 16, num_classes: int = 10, in_channels: int = 3, norm: str = "batch"
) -> nn.Module:
    """ResNet-8 for [n, 3, 32, 32] with stages of width, 2 width, 4 width; Banbury et al. 2021 (MLPerf
    Tiny)."""
    positive("width", width)
    stem = nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=biased(norm)),
        *normalized(norm, width, nn.ReLU()),
    )
    sizes = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
    stages: list[nn.Module] = [BasicBlock(*size, norm, shortcut_norm=False) for size in sizes]
    return ResNet(stem, stages, 4 * width, num_classes)


def resnet18(
    *,
    width: int = 64,
    num_classes: int = 1000,
    in_channels: int = 3,
    norm: str = "batch",
    small_input: bool = False,
) -> nn.Module:
    """ResNet-18 for [n, 3, 224, 224]; `small_input`: a 3x3 stem without pooling, for 32x32. He et al.
    2016."""
    positive("width", width)
    kernel, stride = (3, 1) if small_input else (7, 2)
    layers = [
        nn.Conv2d(in_channels, width, kernel, stride, padding=kernel // 2, bias=biased(norm)),
        *normalized(norm, width, nn.ReLU()),
    ]
    if not small_input:
        layers.append(nn.MaxPool2d(3, 2, padding=1))
    sizes = [width * 2**stage for stage in range(4)]
    stages = [
        nn.Sequential(
            BasicBlock(before, size, 1 if size == width else 2, norm, shortcut_norm=True),
            BasicBlock(size, size, 1, norm, shortcut_norm=True),
        )
        for before, size in zip([width, *sizes], sizes, strict=False)
    ]
    return ResNet(nn.Sequential(*layers), list(stages), sizes[-1], num_classes)
