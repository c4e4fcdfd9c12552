"""What an activation tells of its input: distance correlation, as a figure and as a penalty; and noise against it."""

from __future__ import annotations

import torch

from edgekit.decentralized.keys import key

SMALL = 1e-12


def distance_correlation(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """dCor(x, y) of n paired samples, 0 (independent) to 1, from their centred distance matrices A and B.

    dCov^2 = mean(A B), dCor = sqrt(dCov^2(x, y) / sqrt(dCov^2(x, x) dCov^2(y, y))). x, y [n, ...]; Szekely, Rizzo,
    Bakirov, 2007.
    """
    a, b = _centred(x), _centred(y)
    covariance, own = (a * b).mean(), ((a * a).mean() * (b * b).mean()).clamp_min(SMALL).sqrt()
    return (covariance.clamp_min(SMALL) / own).sqrt()


def nopeek(weight: float, inputs: dict[str, torch.Tensor], made: dict[str, torch.Tensor]) -> torch.Tensor:
    """weight x the mean distance correlation of each activation that leaves with the input (Vepakomma et al., 2020)."""
    (x,) = list(inputs.values())[:1]
    found = [distance_correlation(x.detach(), value) for value in made.values() if value.is_floating_point()]
    return weight * torch.stack(found).mean()


def noisy(value: torch.Tensor, scale: float, *parts: object) -> torch.Tensor:
    """A value with normal noise of `scale` times its own standard deviation, the same for the same key."""
    chance = torch.Generator().manual_seed(key("split noise", *parts))
    noise = torch.randn(value.shape, generator=chance, dtype=torch.float32).to(value)
    return value + noise * (scale * value.detach().std())


def _centred(x: torch.Tensor) -> torch.Tensor:
    flat = x.reshape(len(x), -1)
    squared = (flat.unsqueeze(1) - flat.unsqueeze(0)).square().sum(-1)
    distances = (squared + SMALL).sqrt() * (1 - torch.eye(len(x), dtype=flat.dtype, device=flat.device))
    return distances - distances.mean(0, keepdim=True) - distances.mean(1, keepdim=True) + distances.mean()
