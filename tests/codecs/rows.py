"""What the tests of codecs share."""

from __future__ import annotations

import numpy as np

from edgekit.codecs.codec import RowSpec


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


def normal(size: int, dtype: str = "float32", seed: int = 1) -> np.ndarray:
    return chance(seed).standard_normal(size).astype(dtype)


def through(codec, row: np.ndarray, spec: RowSpec | None = None, seed: int = 0) -> np.ndarray:
    """decode(encode(row))."""
    spec = spec or RowSpec(len(row), str(row.dtype))
    return codec.decode(codec.encode(row, spec, chance(seed)), spec)


def loss(row: np.ndarray, seen: np.ndarray) -> float:
    """||C(x) - x||^2 / ||x||^2."""
    return float(np.sum((seen - row.astype(np.float64)) ** 2) / np.sum(row.astype(np.float64) ** 2))
