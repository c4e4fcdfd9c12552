"""The normalization layers a zoo model can be built with."""

from __future__ import annotations

import math

from torch import nn

from edgekit.errors import BadInput, did_you_mean


def norm2d(kind: str, channels: int, *, groups: int = 8) -> nn.Module:
    """`batch`: BatchNorm2d; `group`: GroupNorm with the largest group count that divides both 8 and the
    channels."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(math.gcd(groups, channels), channels)
    raise BadInput(f"norm: '{kind}' is unknown. {did_you_mean(kind, ['batch', 'group'])}")


def positive(name: str, value: float) -> None:
    """Raise BadInput unless a size of a model is above 0."""
    if value <= 0:
        raise BadInput(f"{name}: {value} leaves no channel. Give a number above 0.")
