"""An algorithm, a topology and a codec of one's own, each a file's worth of lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from edgekit.codecs.codec import Codec, check_decoded, check_finite, check_length
from edgekit.decentralized.algorithm import Algorithm
from edgekit.decentralized.exchange import Mix
from edgekit.decentralized.graph import Graph
from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class MomentumTracking(Algorithm):
    """x' = W (x - lr y); y' = W y + m' - m: the neighbourhood's mean of the momentum m' = beta m + (1 - beta) g."""

    beta: float = 0.8

    name: ClassVar[str] = "momentum-tracking"
    source: ClassVar[str] = "after Takezawa et al., 2022"
    optimizer: ClassVar[str] = "own"
    local_steps: ClassVar[bool] = False
    vectors: ClassVar[float] = 2.0

    def start(self, x, context):
        """No momentum, nothing tracked."""
        return {"x": x, "y": torch.zeros_like(x), "m": torch.zeros_like(x)}

    def round(self, state, context):
        """The tracker takes in how the momentum changed; then model and tracker travel in one message."""
        x, before = state["x"], state["m"]
        state["m"] = torch.lerp(context.gradient(x), before, self.beta)
        y = state["y"] + state["m"] - before
        half = torch.add(x, y, alpha=-context.lr)
        reply = yield Mix((half, y))
        state["x"], state["y"] = reply.pull(half), reply.pull(y, at=1)


@dataclass(frozen=True)
class Ladder(Topology):
    """Two lines side by side, joined rung by rung."""

    name: ClassVar[str] = "ladder"

    def graph(self, roster, round, seed):
        """Agents 2k and 2k + 1 are a rung."""
        size = len(roster)
        rungs = [(agent, agent + 1) for agent in range(0, size - 1, 2)]
        return Graph.undirected(size, [*rungs, *((agent, agent + 2) for agent in range(size - 2))])


@dataclass(frozen=True)
class Thirds(Codec):
    """Each value as -s, 0 or s, with s the mean magnitude of its layer: 2 bits a value, four to a byte."""

    name: ClassVar[str] = "thirds"
    number: ClassVar[int] = 200
    source: ClassVar[str] = "own"

    def encode(self, row, spec, random):
        """A scale for each layer, then all codes 0, 1, 2 for -s, 0, s."""
        check_finite(self.name, row)
        scales = np.array([(np.abs(row[a:b]) / max(b - a, 1)).sum() for a, b in spec.bounds], spec.little)
        each = self._each(scales, spec)
        codes = (1 + np.sign(row) * (np.abs(row) > each / 2)).astype(np.uint8)
        codes = np.concatenate([codes, np.zeros(-spec.size % 4, np.uint8)]).reshape(-1, 4)
        return scales.tobytes() + (codes << np.array([0, 2, 4, 6], np.uint8)).sum(1, dtype=np.uint8).tobytes()

    def decode(self, payload, spec):
        """The scale of its layer with the sign of each code."""
        check_length(self.name, payload, self.size(spec))
        head = spec.itemsize * len(spec.bounds)
        packed = np.frombuffer(payload[head:], np.uint8)
        codes = (packed[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(-1)[: spec.size]
        scales = check_decoded(self.name, np.frombuffer(payload[:head], spec.little))
        return check_decoded(self.name, (codes.astype(spec.dtype) - 1) * self._each(scales, spec))

    def size(self, spec):
        """A value for each layer, then a quarter of a byte a value."""
        return spec.itemsize * len(spec.bounds) + (spec.size + 3) // 4

    def _each(self, scales, spec):
        return np.repeat(scales.astype(spec.dtype), [b - a for a, b in spec.bounds])
