"""GN-LeNet: the small convolutional network of decentralized learning studies."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from edgekit.errors import BadInput
from edgekit.zoo.norm import normalized, positive


class GnLeNet(nn.Module):
    """5x5 convolutions, each pooled, normalized and rectified, then a linear head."""

    def __init__(
        self, width: int, num_classes: int, in_channels: int, image_size: int, norm: str, depth: int
    ) -> None:
        super().__init__()
        sizes = [in_channels, *[width] * (depth - 1), 2 * width]
        self.features = nn.Sequential(
            *(
                layer
                for before, size in itertools.pairwise(sizes)
                for layer in (
                    nn.Conv2d(before, size, 5, padding=2),
                    nn.MaxPool2d(2),
                    *normalized(norm, size, nn.ReLU(), groups=2),
                )
            )
        )
        self.fc = nn.Linear(sizes[-1] * (image_size // 2**depth) ** 2, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.features(x), 1))


def gn_lenet(
    *,
    width: int = 32,
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    norm: str = "group",
    depth: int = 3,
) -> nn.Module:
    """GN-LeNet for square images [n, 3, 32, 32] or of another `image_size`; Hsieh, Phanishayee, Mutlu, Gibbons 2020.

    `depth: 2` with `width: 8` is a small one, for [n, 1, 28, 28]. `width` is even where the norm has two groups.
    """
    positive("width", width)
    if width % 2 and norm in ("group", "evonorm"):
        raise BadInput(f"width: {width} does not split into the two groups of gn_lenet. Give an even number.")
    if depth < 1:
        raise BadInput(f"depth: {depth} leaves no convolution. Give 1 or more.")
    if image_size < 2**depth:
        raise BadInput(
            f"image_size: {image_size} is used up by {depth} poolings. Give {2**depth} or more, or lower depth."
        )
    return GnLeNet(width, num_classes, in_channels, image_size, norm, depth)
