"""The signature: what goes into a model and what comes out, the same object in job, export, bundle and runner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgekit.errors import BadInput, did_you_mean


@dataclass(frozen=True)
class TensorSpec:
    """A named tensor; a dimension is a number, or a word where it is free (`N` = the batch)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a concrete shape agrees with this one."""
        return len(shape) == len(self.shape) and all(
            isinstance(want, str) or want == got for want, got in zip(self.shape, shape, strict=True)
        )

    def concrete(self, batch: int = 1) -> tuple[int, ...]:
        """The shape with every free dimension set to `batch`."""
        return tuple(batch if isinstance(size, str) else size for size in self.shape)


@dataclass(frozen=True)
class Preprocessing:
    """How a raw sample becomes the input: value = (raw * scale - mean) / std, per channel.

    `layout` is the model's (NCHW, NC, ...), `resize` is (height, width) or None, `color` is RGB, BGR, GRAY or None.
    """

    layout: str = ""
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: tuple[int, int] | None = None
    color: str | None = None


@dataclass(frozen=True)
class Signature:
    """Named inputs and outputs, preprocessing and class names of a model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classes: tuple[str, ...] = ()

    def check(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Raise BadInput naming the input whose name, shape or dtype disagrees."""
        names = [spec.name for spec in self.inputs]
        for name in feeds:
            if name not in names:
                raise BadInput(f"input: '{name}' is no input of this model. {did_you_mean(name, names)}")
        for spec in self.inputs:
            if spec.name not in feeds:
                raise BadInput(f"input: '{spec.name}' {list(spec.shape)} is missing. Give every input.")
            value = feeds[spec.name]
            if not spec.fits(tuple(value.shape)):
                raise BadInput(
                    f"input '{spec.name}': the shape {list(value.shape)} does not fit {list(spec.shape)}. "
                    "Reshape the data, or name the shape the model takes."
                )
            if str(value.dtype) != spec.dtype:
                raise BadInput(
                    f"input '{spec.name}': the dtype {value.dtype} is not {spec.dtype}. Convert the data, "
                    f"for example with .astype('{spec.dtype}')."
                )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Signature:
        """The inverse of `to_json`."""
        prep = dict(value["preprocessing"])
        prep["mean"], prep["std"] = tuple(prep["mean"]), tuple(prep["std"])
        prep["resize"] = tuple(prep["resize"]) if prep["resize"] else None
        return cls(
            inputs=tuple(_spec(item) for item in value["inputs"]),
            outputs=tuple(_spec(item) for item in value["outputs"]),
            preprocessing=Preprocessing(**prep),
            classes=tuple(value["classes"]),
        )


def _spec(value: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(value["name"], value["dtype"], tuple(value["shape"]))
