"""Coding rows for the wire: what is seen of a row, how many bytes it takes, and the residuals in between."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from edgekit.codecs.codec import BadPayload, Codec, Payload, Row, RowSpec
from edgekit.codecs.raw import Raw
from edgekit.decentralized.keys import stream

Rows = torch.Tensor
RAW = Raw()
PREFIX = 4  # bytes of the length before each part of a message that has several
WEIGHT = 8  # bytes of the weight before a member's part of a weighted mean


@dataclass
class Residuals:
    """What codecs that remember keep, by (slot, sender, receiver); receiver -1 where all receive the same."""

    rows: dict[tuple[str, int, int], Row] = field(default_factory=dict)

    def of(self, codec: Codec, spec: RowSpec, slot: str, sender: int, receiver: int = -1) -> Row | None:
        """The residual of a codec that remembers, zero at first; None for the others."""
        if not codec.remembers:
            return None
        known = self.rows.get((slot, sender, receiver))
        if known is None:
            known = self.rows[slot, sender, receiver] = np.zeros(spec.size, spec.dtype)
        return known

    def forget(self, agents: set[int]) -> None:
        """Drop what belongs to agents that are gone."""
        self.rows = {name: row for name, row in self.rows.items() if not agents & set(name[1:])}


def codec_for(width: int, size: int, codec: Codec) -> Codec:
    """Rows of the model's size are coded; narrower ones (a weight, a count) travel as they are."""
    return codec if width == size else RAW


def as_array(row: Rows) -> Row:
    """A row as numpy, on the CPU; no copy where it is there already."""
    array: Row = row.numpy(force=True)
    return array


def as_tensor(row: Row, like: Rows) -> Rows:
    """A numpy row with the dtype and device of `like`."""
    return torch.from_numpy(row).to(device=like.device, dtype=like.dtype)


def draw(seed: int, agent: int, round: int, slot: str, receiver: int = -1) -> np.random.Generator:
    """The random stream of one coding: the same on a device as in the simulator."""
    return stream(seed, "codec", agent, round, slot, receiver)


def part_specs(spec: RowSpec, parts: int) -> list[tuple[slice, RowSpec]]:
    """A row cut into `parts` contiguous parts of nearly equal length, with the layers that each holds."""
    cuts = [spec.size * index // parts for index in range(parts + 1)]
    made = []
    for start, stop in itertools.pairwise(cuts):
        inside = [
            (max(low, start) - start, min(high, stop) - start)
            for low, high in spec.layers
            if max(low, start) < min(high, stop)
        ]
        made.append((slice(start, stop), RowSpec(stop - start, spec.dtype, tuple(inside))))
    return made


def join(parts: Sequence[bytes]) -> bytes:
    """One message of several payloads; a single one is its own message."""
    if len(parts) == 1:
        return parts[0]
    return b"".join(len(part).to_bytes(PREFIX, "little") + part for part in parts)


def split(message: Payload, limits: Sequence[int]) -> list[Payload]:
    """The payloads of a message, each at most its limit; BadPayload where the lengths do not add up."""
    if len(limits) == 1:
        return [message]
    parts, position = [], 0
    for limit in limits:
        length = int.from_bytes(message[position : position + PREFIX], "little")
        position += PREFIX
        if length > limit or position + length > len(message):
            raise BadPayload(f"a message of {len(message)} bytes holds a part of {length}, more than it may.")
        parts.append(message[position : position + length])
        position += length
    if position != len(message):
        raise BadPayload(f"a message has {len(message) - position} bytes after its last part.")
    return parts


def message_size(sizes: Sequence[int]) -> int:
    """The length of `join` of payloads of these lengths."""
    return sizes[0] if len(sizes) == 1 else sum(sizes) + PREFIX * len(sizes)


def weight_bytes(weight: float) -> bytes:
    """A member's weight as it travels: float64, little-endian."""
    return np.array(weight, "<f8").tobytes()


def read_weight(message: Payload) -> float:
    """The weight at the head of a message; BadPayload where it is none."""
    if len(message) < WEIGHT:
        raise BadPayload(f"a weighted part of {len(message)} bytes, too short for its weight.")
    weight = float(np.frombuffer(message[:WEIGHT], "<f8")[0])
    if not 0 <= weight < float("inf"):
        raise BadPayload(f"a member's weight is {weight}.")
    return weight
