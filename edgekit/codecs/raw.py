"""Raw: every value as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.codecs.codec import Codec, Payload, Row, RowSpec, check_decoded, check_finite, check_length


@dataclass(frozen=True)
class Raw(Codec):
    """Values in their own dtype, little-endian: 4 bytes each for float32."""

    name: ClassVar[str] = "raw"
    number: ClassVar[int] = 1
    source: ClassVar[str] = "own"
    lossless: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """The memory of the row."""
        check_finite(self.name, row)
        return row.astype(spec.little, copy=False).tobytes()

    def decode(self, payload: Payload, spec: RowSpec) -> Row:
        """The values in the machine's byte order; a copy, unless they can be used where they lie."""
        check_length(self.name, payload, self.size(spec))
        values = np.frombuffer(payload, spec.little)
        return check_decoded(self.name, values.astype(spec.dtype, copy=not values.flags.behaved))

    def size(self, spec: RowSpec) -> int:
        """itemsize * size."""
        return spec.itemsize * spec.size

    def variance(self, spec: RowSpec) -> float:
        """0: nothing is lost."""
        return 0.0

    def contraction(self, spec: RowSpec) -> float:
        """1: nothing is lost."""
        return 1.0

    def project(self, row: Row, spec: RowSpec, random: np.random.Generator) -> Row:
        """The row itself."""
        check_finite(self.name, row)
        return row
