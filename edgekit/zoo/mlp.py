"""A multi-layer perceptron."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from edgekit.zoo.norm import positive


class Mlp(nn.Module):
    """flatten, then `depth` layers of linear and ReLU, then the linear head."""

    def __init__(self, in_features: int, width: int, depth: int, num_classes: int) -> None:
        super().__init__()
        sizes = [in_features, *[width] * depth]
        self.hidden = nn.Sequential(
            *(
                layer
                for before, size in itertools.pairwise(sizes)
                for layer in (nn.Linear(before, size), nn.ReLU())
            )
        )
        self.fc = nn.Linear(sizes[-1], num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.hidden(torch.flatten(x, 1)))


def mlp(*, in_features: int = 784, width: int = 128, depth: int = 2, num_classes: int = 10) -> nn.Module:
    """A perceptron for any input of `in_features` values, with `depth` hidden layers of `width`."""
    positive("width", width)
    return Mlp(in_features, width, depth, num_classes)
