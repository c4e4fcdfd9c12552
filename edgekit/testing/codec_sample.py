"""What the kit of codecs works on: rows of awkward lengths and values, and rows at which declared bounds are tight."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from edgekit.codecs.codec import Row, RowSpec

SIZES = (0, 1, 7, 8, 9, 1000)
DTYPES = ("float32", "float64")


def generator(seed: int = 0) -> np.random.Generator:
    """A generator of the kind that engines give."""
    return np.random.Generator(np.random.Philox(key=seed))


def specs(sizes: tuple[int, ...] = SIZES) -> Iterator[RowSpec]:
    """Every size in both dtypes, as one layer and as four, of which some are empty."""
    for size in sizes:
        cuts = (0, size // 3, size // 2, size // 2, size)
        layers = tuple(itertools.pairwise(cuts))
        for dtype in DTYPES:
            yield RowSpec(size, dtype)
            yield RowSpec(size, dtype, layers)


def rows(spec: RowSpec) -> dict[str, Row]:
    """Rows of a spec, read only: ordinary ones, and those that codecs trip over."""
    limits = np.finfo(spec.dtype)
    normal = generator(1).standard_normal(spec.size)
    signs = np.where(normal < 0, -1.0, 1.0)
    made = {
        "normal": normal,
        "constant": np.full(spec.size, 0.1),
        "zero": np.zeros(spec.size),
        "negative zero": np.full(spec.size, -0.0),
        "two values": signs,
        "offset": 1e5 + 0.08 * generator(2).random(spec.size),
        "denormal": normal * float(limits.tiny) / 16,
        "large": np.clip(normal, -1, 1) * float(limits.max),
    }
    found = {name: row.astype(spec.dtype) for name, row in made.items()}
    found["with gaps"] = np.repeat(normal.astype(spec.dtype), 3)[::3]
    found["backwards"] = normal.astype(spec.dtype)[::-1]
    for row in found.values():
        row.flags.writeable = False
    return found


def bound_rows(spec: RowSpec) -> dict[str, Row]:
    """Rows that tell whether bounds hold: ordinary, and the worst for rounding, for signs and for selection."""
    size, chance = spec.size, generator(3)
    spike = np.zeros(size)
    spike[size // 2] = 3.0
    between = chance.integers(0, 255, size) + 0.5
    between[:2] = 0, 255
    made = {
        "normal": chance.standard_normal(size),
        "one value": spike,
        "equal magnitudes": np.where(chance.random(size) < 0.5, -1.5, 1.5),
        "mantissa 4/3": 2.0 ** chance.integers(-9, 9, size) * 4 / 3,
        "half-way between levels": between,
        "many magnitudes": np.exp(4 * chance.standard_normal(size)),
        "range of a few hundred spacings": 1e5 + 2.8 * chance.random(size),
    }
    return {name: row.astype(spec.dtype) for name, row in made.items()}
