"""One tiny network of each family that channel pruning must understand; each takes [n, 3, 16, 16], gives [n,
5]."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

INPUT, CLASSES = (3, 16, 16), 5


def _conv(inputs: int, outputs: int, kernel: int = 3, *, groups: int = 1, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Net(nn.Module):
    """A body of feature maps, global average, linear head."""

    def __init__(self, body: nn.Module, features: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(features, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.body(x), 1), 1))


class Residual(nn.Module):
    """x + f(x), the sum written as an operator."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), norm(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), norm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + x)


class SqueezeExcite(nn.Module):
    """x * gate(expand(relu(reduce(mean(x)))))."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.reduce, self.expand, self.gate = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1), gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))


class DenseConcat(nn.Module):
    """Each layer reads the concatenation of all before it."""

    def __init__(self, channels: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_conv(channels + growth * index, growth) for index in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


def depthwise() -> nn.Module:
    """Two depthwise separable blocks."""
    return Net(
        nn.Sequential(
            _conv(3, 16, stride=2),
            _conv(16, 16, groups=16),
            _conv(16, 32, 1),
            _conv(32, 32, groups=32, stride=2),
            _conv(32, 32, 1),
        ),
        32,
    )


def grouped() -> nn.Module:
    """Convolutions in four groups."""
    return Net(
        nn.Sequential(
            _conv(3, 16), _conv(16, 32, groups=4, stride=2), _conv(32, 32, groups=4), _conv(32, 32, 1)
        ),
        32,
    )


def residual() -> nn.Module:
    """Two residual blocks on one stream, a projection between."""
    return Net(nn.Sequential(_conv(3, 16), Residual(16), _conv(16, 32, stride=2), Residual(32)), 32)


def squeeze_excite() -> nn.Module:
    """Squeeze-excitation with a sigmoid."""
    return Net(nn.Sequential(_conv(3, 16), SqueezeExcite(16, nn.Sigmoid()), _conv(16, 32, stride=2)), 32)


def squeeze_excite_hard() -> nn.Module:
    """Squeeze-excitation with a hard sigmoid, as in MobileNetV3."""
    return Net(nn.Sequential(_conv(3, 16), SqueezeExcite(16, nn.Hardsigmoid()), _conv(16, 32, stride=2)), 32)


def dense_concat() -> nn.Module:
    """Three densely connected layers and a transition."""
    return Net(nn.Sequential(_conv(3, 16), DenseConcat(16, 8, 3), _conv(40, 24, 1, stride=2)), 24)


def group_norm() -> nn.Module:
    """A residual net normalized by groups."""
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, padding=1), nn.GroupNorm(4, 16), nn.ReLU())
    return Net(nn.Sequential(stem, Residual(16, lambda channels: nn.GroupNorm(4, channels))), 16)


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    builder.__name__: builder
    for builder in (
        depthwise,
        grouped,
        residual,
        squeeze_excite,
        squeeze_excite_hard,
        dense_concat,
        group_norm,
    )
}
