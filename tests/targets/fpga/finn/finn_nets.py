"""Small quantized nets as brevitas exports them, with what torch computes for a few inputs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

SAMPLES = 4


@dataclass(frozen=True)
class Net:
    """A QONNX file, `SAMPLES` inputs and the outputs that torch computes for them."""

    path: Path
    inputs: np.ndarray
    expected: np.ndarray


def tfc(folder: Path, bits: int = 2) -> Net:
    """196-64-64-64-10, fully connected."""
    nn, qnn = _modules()
    layers = [nn.Flatten(), _input(qnn)]
    for wide, high in ((196, 64), (64, 64), (64, 64)):
        layers += [
            qnn.QuantLinear(wide, high, bias=False, weight_bit_width=bits),
            nn.BatchNorm1d(high),
            qnn.QuantReLU(bit_width=bits),
        ]
    layers += [qnn.QuantLinear(64, 10, bias=False, weight_bit_width=bits)]
    return _exported(nn.Sequential(*layers), (1, 14, 14), folder)


def cnv(folder: Path, bits: int = 4, padding: int = 0, depthwise: bool = False) -> Net:
    """Four 3x3 convolutions and two max pools on 32x32 colour images, then two linear layers."""
    nn, qnn = _modules()
    layers, channels = [_input(qnn)], 3
    for high in (16, 32):
        layers += _convolution(nn, qnn, channels, high, bits, padding=padding)
        groups = high if depthwise else 1
        layers += _convolution(nn, qnn, high, high, bits, padding=padding, groups=groups)
        layers += [nn.MaxPool2d(2)]
        channels = high
    side = 8 if padding else 5
    layers += [
        nn.Flatten(),
        qnn.QuantLinear(channels * side * side, 64, bias=False, weight_bit_width=bits),
        nn.BatchNorm1d(64),
        qnn.QuantReLU(bit_width=bits, return_quant_tensor=True),
        qnn.QuantLinear(64, 10, bias=False, weight_bit_width=bits),
    ]
    return _exported(nn.Sequential(*layers), (3, 32, 32), folder)


def pooled(folder: Path, bits: int = 4, quantized: bool = True) -> Net:
    """Four convolutions, then the mean of each channel, quantized again or not, and a classifier."""
    nn, qnn = _modules()
    layers, channels = [_input(qnn)], 3
    for high in (16, 32):
        layers += _convolution(nn, qnn, channels, high, bits)
        layers += _convolution(nn, qnn, high, high, bits)
        layers += [nn.MaxPool2d(2)]
        channels = high
    layers += [nn.AdaptiveAvgPool2d(1)]
    layers += [qnn.QuantIdentity(bit_width=bits, return_quant_tensor=True)] * quantized
    layers += [nn.Flatten(), qnn.QuantLinear(channels, 10, bias=False, weight_bit_width=bits)]
    return _exported(nn.Sequential(*layers), (3, 32, 32), folder)


def residual(folder: Path, bits: int = 4, width: int = 16, blocks: int = 2) -> Net:
    """Residual blocks whose branches share one quantizer, average pooling, a classifier."""
    import torch

    nn, qnn = _modules()

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                *_convolution(nn, qnn, channels, channels, bits, padding=1),
                qnn.QuantConv2d(channels, channels, 3, padding=1, bias=False, weight_bit_width=bits),
                nn.BatchNorm2d(channels),
            )
            self.share = qnn.QuantIdentity(bit_width=bits, return_quant_tensor=True)
            self.relu = qnn.QuantReLU(bit_width=bits, return_quant_tensor=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(self.share(self.body(x)) + self.share(x))

    return _exported(
        nn.Sequential(
            _input(qnn),
            *_convolution(nn, qnn, 3, width, bits, padding=1),
            *(Block(width) for _ in range(blocks)),
            _average_pool(qnn, 8, bits),
            nn.Flatten(),
            qnn.QuantLinear(width, 10, bias=False, weight_bit_width=bits),
        ),
        (3, 8, 8),
        folder,
    )


def _modules():
    pytest.importorskip("brevitas", reason="brevitas makes the nets; it is not installed")
    import torch
    from brevitas import nn as qnn

    torch.manual_seed(0)
    return torch.nn, qnn


def _input(qnn):
    return qnn.QuantIdentity(bit_width=8, return_quant_tensor=True)


def _convolution(nn, qnn, wide: int, high: int, bits: int, padding: int = 0, groups: int = 1) -> list:
    return [
        qnn.QuantConv2d(wide, high, 3, padding=padding, groups=groups, bias=False, weight_bit_width=bits),
        nn.BatchNorm2d(high),
        qnn.QuantReLU(bit_width=bits, return_quant_tensor=True),
    ]


def _average_pool(qnn, size: int, bits: int):
    from brevitas.quant import TruncTo8bit

    return qnn.TruncAvgPool2d(size, trunc_quant=TruncTo8bit, float_to_int_impl_type="floor", bit_width=bits)


def _exported(model, shape: tuple[int, ...], folder: Path) -> Net:
    import torch
    from brevitas.export import export_qonnx

    path = folder / "net.onnx"
    model.train()
    with torch.no_grad():
        for _ in range(8):
            model(torch.rand(16, *shape))  # scales and BatchNorm statistics settle
    model.eval()
    inputs = torch.rand(SAMPLES, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_qonnx(model, torch.rand(1, *shape), str(path), dynamo=False, opset_version=13)
    with torch.no_grad():
        found = model(inputs)
    found = getattr(found, "value", found)
    return Net(path, inputs.numpy(), found.numpy())
