"""The contract of a codec, and the guide for whoever writes one.

A codec is a frozen dataclass in a file of its own; its fields are what a run file says: `TopK(ratio=0.01)` is
`codec: {top-k: {ratio: 0.01}}`. It turns one row (the values that an agent sends, one dimension) into bytes, and
bytes into what the receiver sees.

- Length, dtype and layers come from the `RowSpec` that both ends hold, never from the bytes: a payload carries
  values only. `decode` raises BadPayload for bytes that cannot be one, and allocates nothing that `spec` does not
  bound.
- The row is the sender's own: it may be a view, with gaps, and is read only. `project` may return it as it is.
- A row with NaN or infinite values is refused: `check_finite` first, in whatever reads a row (BadInput). So `decode`
  gives finite values too, or raises BadPayload (`check_decoded`): what diverged at one agent stays there.
- Randomness comes from the generator that `encode` is given, keyed by (run, agent, round, slot): the simulator and
  a device draw the same numbers. Take numbers from nowhere else.
- `size` is the exact length of every payload where it does not depend on the values, else None. `limit` bounds the
  length of any payload, so that a receiver can refuse before it decodes.
- Declare what is proved: `unbiased` with `variance` omega, E||C(x) - x||^2 <= omega ||x||^2, or `contraction` delta,
  E||C(x) - x||^2 <= (1 - delta) ||x||^2. They hold for values that are 0 or of magnitude 2^-126 to 2^126, up to the
  rounding of a float32. The conformance kit measures them.
- `project` is decode(encode(x)) bit for bit; override it where the lossy part alone is faster.
- A codec that keeps a residual between rounds (`remembers`) overrides `transmit` and `see`; engines keep the residual,
  one for each agent and slot, and where an algorithm answers each neighbour apart, one for each neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.errors import BadInput, EdgekitError

Row = npt.NDArray[np.floating]
Payload = bytes | memoryview


class BadPayload(EdgekitError):
    """Bytes that no agent of this run can have sent."""


@dataclass(frozen=True)
class RowSpec:
    """What both ends know of a row before a byte is sent.

    size: how many values; dtype: float32 or float64; layers: (start, stop) of each layer, in order, covering all
    values, or () for one layer.
    """

    size: int
    dtype: str = "float32"
    layers: tuple[tuple[int, int], ...] = ()

    @cached_property
    def itemsize(self) -> int:
        """Bytes of one value in memory."""
        return int(np.dtype(self.dtype).itemsize)

    @cached_property
    def little(self) -> np.dtype[np.floating]:
        """The dtype as it travels: little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @cached_property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """The layers, or the whole row as one."""
        return self.layers or ((0, self.size),)

    @cached_property
    def longest(self) -> int:
        """The length of the longest layer."""
        return max(stop - start for start, stop in self.bounds)


class Codec:
    """Base of all codecs: what a run needs to know of one before it starts."""

    name: ClassVar[str] = ""
    number: ClassVar[int] = 0  # in every frame's header; a receiver refuses one it does not expect
    source: ClassVar[str] = ""  # author, year
    lossless: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False
    remembers: ClassVar[bool] = False  # needs a residual [spec.size], zero at first

    def encode(self, row: Row, spec: RowSpec, random: np.random.Generator) -> bytes:
        """The bytes of a row [spec.size]; BadInput where it holds NaN or infinite values."""
        raise NotImplementedError

    def decode(self, payload: Payload, spec: RowSpec) -> Row:
        """The row [spec.size] of `spec.dtype` that the receiver sees, finite; BadPayload for bytes that are none."""
        raise NotImplementedError

    def size(self, spec: RowSpec) -> int | None:
        """The exact length of every payload, or None where it depends on the values."""
        raise NotImplementedError

    def limit(self, spec: RowSpec) -> int:
        """The greatest length that a payload can have."""
        size = self.size(spec)
        if size is None:
            raise NotImplementedError(f"{self.name}: a codec without a fixed size declares its limit")
        return size

    def variance(self, spec: RowSpec) -> float | None:
        """omega with E||C(x) - x||^2 <= omega ||x||^2, where the codec is unbiased and a bound is known."""
        return None

    def contraction(self, spec: RowSpec) -> float | None:
        """delta in (0, 1] with E||C(x) - x||^2 <= (1 - delta) ||x||^2, where that is known."""
        return None

    def project(self, row: Row, spec: RowSpec, random: np.random.Generator) -> Row:
        """What the receiver sees of a row: decode(encode(row)), without the bytes where that is faster."""
        return self.decode(self.encode(row, spec, random), spec)

    def transmit(
        self, row: Row, spec: RowSpec, random: np.random.Generator, residual: Row | None = None
    ) -> tuple[bytes, Row]:
        """(the bytes of a row, what the receiver sees); a codec that remembers changes `residual` in place."""
        payload = self.encode(row, spec, random)
        return payload, self.decode(payload, spec)

    def see(self, row: Row, spec: RowSpec, random: np.random.Generator, residual: Row | None = None) -> Row:
        """What the receiver sees, as `transmit` gives it, without the bytes where that is faster."""
        return self.project(row, spec, random)


def check_length(name: str, payload: Payload, wanted: int) -> None:
    """Raise BadPayload where a payload has another length than the local model says."""
    if len(payload) != wanted:
        raise BadPayload(f"{name}: a payload of {len(payload)} bytes, but this run's model makes {wanted}.")


def check_finite(name: str, row: Row) -> None:
    """Raise BadInput where a row holds NaN or infinite values."""
    if not _is_finite(row):
        raise BadInput(
            f"{name}: a row to be sent holds NaN or infinite values: training has diverged. Lower the learning rate."
        )


def check_decoded(name: str, row: Row) -> Row:
    """A decoded row as it is; BadPayload where it holds NaN or infinite values."""
    if not _is_finite(row):
        raise BadPayload(f"{name}: a payload holds NaN or infinite values, which no agent sends.")
    return row


def _is_finite(row: Row) -> bool:
    """By the greatest and the least value, which are NaN where one is: no copy, and no overflow to silence."""
    return not row.size or (isfinite(np.maximum.reduce(row)) and isfinite(np.minimum.reduce(row)))
