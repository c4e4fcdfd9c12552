"""Error feedback: what a codec loses is added to what is sent next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.codecs.codec import Codec, Row, RowSpec
from edgekit.errors import BadInput


@dataclass(frozen=True)
class ErrorFeedback(Codec):
    """v = x + e; send C(v); e <- v - C(v). What was sent plus the residual is the sum of what was to be sent.

    For increments (gradients, cross-gradients, differences): sum_t C_t + e_T = sum_t x_t.
    """

    codec: Codec

    name: ClassVar[str] = "error-feedback"
    source: ClassVar[str] = "Seide et al., 2014; Karimireddy et al., 2019"
    remembers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.codec.remembers:
            raise BadInput(
                f"error-feedback: '{self.codec.name}' keeps a residual already. Wrap what is inside it."
            )

    @property
    def number(self) -> int:  # type: ignore[override]
        """The inner codec's: the bytes are its own."""
        return self.codec.number

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """The inner codec's bytes; the residual enters in `transmit`."""
        return self.codec.encode(row, spec, random)

    def decode(self, payload: bytes, spec: RowSpec) -> Row:
        """The inner codec's values."""
        return self.codec.decode(payload, spec)

    def size(self, spec: RowSpec) -> int | None:
        """The inner codec's."""
        return self.codec.size(spec)

    def limit(self, spec: RowSpec) -> int:
        """The inner codec's."""
        return self.codec.limit(spec)

    def transmit(
        self, row: Row, spec: RowSpec, random: np.random.Generator, residual: Row | None = None
    ) -> tuple[bytes, Row]:
        """Send the row and the residual; keep what is lost."""
        if residual is None:
            raise ValueError("error feedback needs the residual that its engine keeps")
        residual += row
        payload, seen = self.codec.transmit(residual, spec, random)
        residual -= seen
        return payload, seen

    def see(self, row: Row, spec: RowSpec, random: np.random.Generator, residual: Row | None = None) -> Row:
        """The same without the bytes."""
        if residual is None:
            raise ValueError("error feedback needs the residual that its engine keeps")
        residual += row
        seen = self.codec.see(residual.copy(), spec, random)
        residual -= seen
        return seen
