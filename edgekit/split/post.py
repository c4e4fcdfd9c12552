"""Tensors as bytes: activations and gradients through the run's codecs, labels and weights as they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch

from edgekit.codecs.codec import BadPayload, Codec, Payload, RowSpec
from edgekit.codecs.raw import Raw
from edgekit.decentralized.coding import Residuals
from edgekit.decentralized.keys import stream
from edgekit.decentralized.snapshot import Snapshot
from edgekit.split.message import Key
from edgekit.split.privacy import noisy

RAW = Raw()


class Post:
    """One agent's codecs, with what those that remember keep by value.

    noise: relative to the deviation of the values named in `noisy`, added before they leave. sent: payload bytes so
    far, by what they were.
    """

    def __init__(
        self,
        values: Codec | None = None,
        gradients: Codec | None = None,
        *,
        seed: int = 0,
        noise: float = 0.0,
        noisy: Collection[str] = (),
    ) -> None:
        self._noise, self._noisy = noise, frozenset(noisy)
        self._codecs: dict[str, Codec] = {"value": values or RAW, "gradient": gradients or RAW}
        self._residuals, self.seed = Residuals(), seed
        self.sent: dict[str, int] = {}
        self._count = 0

    def pack(self, key: Key, tensor: torch.Tensor) -> bytes:
        """The payload of a tensor."""
        if not tensor.is_floating_point():
            payload = tensor.detach().cpu().numpy().astype(_little(tensor.dtype)).tobytes()
        else:
            payload = self._coded(key, tensor)
        what = "test" if key.test else key.what
        self.sent[what] = self.sent.get(what, 0) + len(payload)
        return payload

    def unpack(self, key: Key, payload: Payload, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The tensor of a payload; BadPayload for bytes that cannot be one."""
        count = int(np.prod(shape))
        if not dtype.is_floating_point:
            kind = _little(dtype)
            if len(payload) != count * np.dtype(kind).itemsize:
                raise BadPayload(f"{key.what} '{key.name}': {len(payload)} bytes, not those of {shape}.")
            return torch.from_numpy(
                np.frombuffer(payload, kind).astype(np.dtype(kind).newbyteorder("="))
            ).reshape(shape)
        row = self._codec(key).decode(payload, _spec(count, dtype))
        return torch.from_numpy(row).reshape(shape).to(dtype)

    def limit(self, key: Key, shape: tuple[int, ...], dtype: torch.dtype) -> int:
        """The longest payload that can be right."""
        count = int(np.prod(shape))
        if not dtype.is_floating_point:
            return count * np.dtype(_little(dtype)).itemsize
        return self._codec(key).limit(_spec(count, dtype))

    def _coded(self, key: Key, tensor: torch.Tensor) -> bytes:
        if self._noise and key.what == "value" and key.name in self._noisy:
            self._count += 1
            tensor = noisy(tensor.detach(), self._noise, self.seed, key.name, key.chain, self._count)
        codec, row = self._codec(key), tensor.detach().reshape(-1).cpu().numpy()
        spec = _spec(len(row), tensor.dtype)
        if codec.lossless:
            return codec.encode(row, spec, _NO_RANDOM)
        slot = f"{key.what} {key.name} {key.micro} {key.consumer}"
        self._count += 1
        random = stream(self.seed, "split codec", slot, key.chain, self._count)
        if key.test:  # what training keeps for its next message is not of this one
            return codec.encode(row, spec, random)
        return codec.transmit(row, spec, random, self._residuals.of(codec, spec, slot, key.chain))[0]

    def snapshot(self, into: Snapshot) -> None:
        """Put what decides the payloads to come, and what was sent so far."""
        into.put_residuals(self._residuals)
        into.facts |= {"codings": self._count, "sent": dict(self.sent)}

    def restore(self, found: Snapshot) -> None:
        """Go on from what `snapshot` put."""
        self._residuals = found.take_residuals()
        self._count, self.sent = int(found.facts["codings"]), dict(found.facts["sent"])

    def _codec(self, key: Key) -> Codec:
        return self._codecs.get(key.what, RAW)


_NO_RANDOM: Any = np.random.default_rng(0)


def _spec(count: int, dtype: torch.dtype) -> RowSpec:
    return RowSpec(count, str(dtype).removeprefix("torch."))


def _little(dtype: torch.dtype) -> str:
    kinds = {torch.int64: "<i8", torch.int32: "<i4", torch.int16: "<i2", torch.uint8: "u1", torch.bool: "u1"}
    return kinds.get(dtype, "<i8")
