"""Inputs of the right shape and type for a file whose data are not at hand."""

from __future__ import annotations

import numpy as np

from edgekit.errors import BadInput
from edgekit.signature import Signature, TensorSpec


def random_feeds(signature: Signature, *, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal values for floating inputs, 0 and 1 for others.

    Raises BadInput where the file fixes another batch.
    """
    chance = np.random.default_rng(seed)
    return {spec.name: _random(spec, batch, chance) for spec in signature.inputs}


def _random(spec: TensorSpec, batch: int, chance: np.random.Generator) -> np.ndarray:
    if spec.shape and isinstance(spec.shape[0], int) and spec.shape[0] != batch:
        raise BadInput(
            f"profile: the input '{spec.name}' has the fixed shape {list(spec.shape)}, not batch {batch}. "
            f"Give --batch {spec.shape[0]}, or export with a free batch."
        )
    shape = tuple(
        batch if index == 0 and isinstance(size, str) else 1 if isinstance(size, str) else size
        for index, size in enumerate(spec.shape)
    )
    if spec.dtype.startswith("float"):
        return chance.standard_normal(shape).astype(spec.dtype)
    return chance.integers(0, 2, shape).astype(spec.dtype)
