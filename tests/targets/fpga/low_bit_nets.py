"""Small float networks that hold every form the swap takes, and real images to train them on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from edgekit.registry import datasets, models

GREY = (1, 32, 32)


class Forms(nn.Module):
    """Padding, stride, depthwise, ReLU6, Hardtanh, a shared ReLU, functions, a residual, two kinds of average."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(1, 8, 3, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
        )
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8)
        self.norm, self.relu = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.pool, self.wide, self.tanh = nn.AvgPool2d(2), nn.Conv2d(8, 12, 3, dilation=2), nn.Hardtanh(-2, 2)
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.relu(self.norm(self.depthwise(x)))
        x = F.relu(x + self.branch(self.relu(x)))
        x = F.max_pool2d(self.tanh(self.wide(self.pool(x))), 3, 1).relu()
        x = x.mean((2, 3))
        return self.head(self.dropout(x.view(x.size(0), -1)))


def built(name: str, **options: Any) -> nn.Module:
    """A zoo network or `forms` for grey 32x32 images, seeded, its BatchNorm settled on noise."""
    torch.manual_seed(0)
    known = {"cnv": {"width": 4, "in_channels": 1}, "tfc": {"width": 32, "in_features": 1024}}
    model = Forms() if name == "forms" else models.get(name)(**{**known.get(name, {}), **options})
    with torch.no_grad():
        for _ in range(10):
            model.train()(torch.randn(16, *GREY))
    return model.eval()


def example() -> dict[str, torch.Tensor]:
    """One image of noise."""
    return {"input": torch.randn(1, *GREY, generator=torch.Generator().manual_seed(1))}


def images(train: int = 1000, test: int = 200) -> Any:
    """Loaders of the Fashion-MNIST sample that edgekit ships, a rim of 2 around each image."""
    sample = datasets.get("fashion-mnist")()
    parts = {
        part: np.pad(getattr(sample, part), ((0, 0), (0, 0), (2, 2), (2, 2)))
        for part in ("train_x", "test_x")
    }
    return replace(sample, **parts).loaders(batch=64, train_limit=train, test_limit=test, calibration=128)


def batch_of(data: Any, count: int) -> np.ndarray:
    """The first validation images, float32 [count, 1, 32, 32]."""
    return next(iter(data.validation))[0][:count].numpy()
