"""Two cameras see half of each picture; a hub puts together what both make of it."""

import torch
from torch import nn


class Branch(nn.Module):
    """Two convolutions, each halving half a picture [n, 1, 28, 14], to 32 features."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.GroupNorm(2, width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.GroupNorm(2, 2 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * 7 * 4, 32),
        )

    def forward(self, x):
        return self.layers(x)


class TwoCameras(nn.Module):
    """A branch for each half, and a head on both."""

    def __init__(self, width=8):
        super().__init__()
        self.west, self.east = Branch(width), Branch(width)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(64, 10))

    def forward(self, left, right):
        return self.head(torch.cat([self.west(left), self.east(right)], 1))
