"""The normalization layers a zoo model can be built with, and the activation that follows each."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from edgekit.errors import BadInput, did_you_mean

KINDS = ("batch", "group", "evonorm", "none")
Norm = Callable[..., nn.Module]


class EvoNorm(nn.Module):
    """y = x sigmoid(v x) / std_g(x) * weight + bias, normalization and activation in one: EvoNorm-S0.

    x [n, channels, ...]; std_g = sqrt(var + eps), over the values of a sample in a group of channels; v, weight and
    bias [channels]. No sample sees another, so agents with different data agree. Liu, Brock, Simonyan and Le, 2020.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.v = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spread = (..., *(None,) * (x.ndim - 2))
        std = (self._group_mean((x - self._group_mean(x)).square()) + self.eps).sqrt()
        return x * torch.sigmoid(self.v[spread] * x) * (self.weight[spread] / std) + self.bias[spread]

    def _group_mean(self, x: torch.Tensor) -> torch.Tensor:
        """The mean over each group of channels, in each of its channels: [n, channels, 1, ...].

        By a matrix, not by reshaping: the tracer of pruning follows channels through one and loses them in the other.
        """
        channels = x.shape[1]
        groups = math.gcd(self.groups, channels)  # pruning may leave another number of channels
        member = torch.eye(groups, dtype=x.dtype, device=x.device).repeat_interleave(channels // groups, 0)
        means = x.mean(tuple(range(2, x.ndim))) if x.ndim > 2 else x
        return (means @ member @ member.T / (channels // groups))[(..., *(None,) * (x.ndim - 2))]


def norm2d(kind: str, channels: int, *, groups: int = 8) -> nn.Module:
    """`batch`: BatchNorm2d; `group`: GroupNorm; `evonorm`: EvoNorm-S0; `none`: nothing.

    Groups are the largest number that divides both `groups` and the channels. Raises BadInput for another kind.
    """
    return nn.BatchNorm2d(channels) if kind == "batch" else _sampled(kind, channels, groups)


def norm1d(kind: str, channels: int, *, groups: int = 8) -> nn.Module:
    """`norm2d` for vectors [n, channels]."""
    return nn.BatchNorm1d(channels) if kind == "batch" else _sampled(kind, channels, groups)


def _sampled(kind: str, channels: int, groups: int) -> nn.Module:
    """The layers that look at one sample at a time."""
    known(kind)
    if kind == "none":
        return nn.Identity()
    return (EvoNorm if kind == "evonorm" else nn.GroupNorm)(math.gcd(groups, channels), channels)


def normalized(
    kind: str, channels: int, activation: nn.Module, *, groups: int = 8, norm: Norm = norm2d
) -> tuple[nn.Module, nn.Module]:
    """A normalization and what follows it: the activation, or nothing after `evonorm`, which is both."""
    return norm(kind, channels, groups=groups), nn.Identity() if kind == "evonorm" else activation


def biased(kind: str) -> bool:
    """Whether the layer before needs a bias of its own, since no normalization adds one."""
    return kind == "none"


def known(kind: str) -> None:
    """Raise BadInput unless it is a kind of normalization."""
    if kind not in KINDS:
        raise BadInput(f"norm: '{kind}' is unknown. {did_you_mean(kind, KINDS)}")


def positive(name: str, value: float) -> None:
    """Raise BadInput unless a size of a model is above 0."""
    if value <= 0:
        raise BadInput(f"{name}: {value} leaves no channel. Give a number above 0.")
