"""Error feedback: what a codec loses is added to what is sent next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.codecs.codec import Codec, Payload, Row, RowSpec
from edgekit.errors import BadInput


@dataclass(frozen=True)
class ErrorFeedback(Codec):
    """Another codec, which is given what it lost before with what is sent next; the bytes are its own.

    v = x + e; send C(v); e <- v - C(v). For increments (gradients, cross-gradients, differences): sum_t C_t + e_T =
    sum_t x_t.
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

    def decode(self, payload: Payload, spec: RowSpec) -> Row:
        """The inner codec's values."""
        return self.codec.decode(payload, spec)

    def size(self, spec: RowSpec) -> int | None:
        """The inner codec's."""
        return self.codec.size(spec)

    def limit(self, spec: RowSpec) -> int:
        """The inner codec's."""
        return self.codec.limit(spec)

    def contraction(self, spec: RowSpec) -> float | None:
        """The inner codec's."""
        return self.codec.contraction(spec)

    def project(self, row: Row, spec: RowSpec, random: np.random.Generator) -> Row:
        """The inner codec's values; the residual enters in `see`."""
        return self.codec.project(row, spec, random)

    def transmit(
        self, row: Row, spec: RowSpec, random: np.random.Generator, residual: Row | None = None
    ) -> tuple[bytes, Row]:
        """Send the row and the residual; keep what is lost."""
        total = row + _kept(residual)
        payload, seen = self.codec.transmit(total, spec, random)
        np.subtract(total, seen, out=residual)
        return payload, seen

    def see(self, row: Row, spec: RowSpec, random: np.random.Generator, residual: Row | None = None) -> Row:
        """The same without the bytes."""
        total = row + _kept(residual)
        seen = self.codec.see(total, spec, random)
        np.subtract(total, seen, out=residual)
        return seen


def _kept(residual: Row | None) -> Row:
    if residual is None:
        raise ValueError("error feedback needs the residual that its engine keeps")
    return residual
