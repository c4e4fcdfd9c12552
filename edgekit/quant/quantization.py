"""A quantization: the scale and zero point of every site, described once for training, writer and report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgekit.quant.site import Site
from edgekit.target import Grid


@dataclass(frozen=True)
class Scale:
    """real = scale * (q - zero_point); scale [channels] or [1], zero_point alike, q clipped to the grid."""

    grid: Grid
    scale: np.ndarray
    zero_point: np.ndarray

    def quantize(self, value: np.ndarray, axis: int = 0) -> np.ndarray:
        """q = clip(round_half_even(value / scale) + zero_point), as int64; channels along `axis`."""
        scale, zero = self._shaped(value.ndim, axis)
        integers: np.ndarray = np.clip(np.rint(value / scale) + zero, self.grid.lowest, self.grid.highest)
        return np.asarray(integers, np.int64)

    def dequantize(self, value: np.ndarray, axis: int = 0) -> np.ndarray:
        """scale * (q - zero_point), as float32."""
        scale, zero = self._shaped(value.ndim, axis)
        return np.asarray((value - zero) * scale, np.float32)

    def _shaped(self, ndim: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
        shape = [1] * ndim
        if self.scale.size > 1:
            shape[axis] = self.scale.size
        return self.scale.reshape(shape), self.zero_point.reshape(shape)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; float32 values survive exactly."""
        return {
            "grid": asdict(self.grid),
            "scale": [float(value) for value in self.scale],
            "zero_point": [int(value) for value in self.zero_point],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Scale:
        """The inverse of `to_json`."""
        return cls(
            Grid(**value["grid"]),
            np.asarray(value["scale"], np.float32),
            np.asarray(value["zero_point"], np.int64),
        )


@dataclass(frozen=True)
class Quantization:
    """Every site's scale. `precision` is "int8" or "fp16"; sites that are absent stay in float."""

    precision: str = "int8"
    activations: dict[Site, Scale] = field(default_factory=dict)
    weights: dict[Site, Scale] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "precision": self.precision,
            "activations": {str(site): scale.to_json() for site, scale in self.activations.items()},
            "weights": {str(site): scale.to_json() for site, scale in self.weights.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Quantization:
        """The inverse of `to_json`."""
        read = lambda part: {Site.parse(key): Scale.from_json(item) for key, item in part.items()}  # noqa: E731
        return cls(value["precision"], read(value["activations"]), read(value["weights"]))


def quantization_of(entries: Iterable[Mapping[str, Any]]) -> Quantization | None:
    """The quantization that the last container entry with one carries, or None."""
    for entry in reversed(list(entries)):
        if entry.get("plan") and "quantization" in entry["plan"]:
            return Quantization.from_json(entry["plan"]["quantization"])
    return None
