"""The model that somebody pointed at by name, with an example input that fits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadInput
from edgekit.zoo import ENTRIES

if TYPE_CHECKING:
    import torch
    from torch import nn

    from edgekit.data.dataset import Dataset
    from edgekit.job import Data


@dataclass(frozen=True)
class Samples:
    """The data that somebody pointed at: its loaders, and the data set behind them where there is one."""

    name: str
    loaders: Data
    dataset: Dataset | None

    @property
    def classes(self) -> int:
        """How many classes there are; 0 where nobody says."""
        return len(self.dataset.classes) if self.dataset is not None else 0

    @property
    def labelled(self) -> bool:
        """Whether training batches are (input, target)."""
        batch = next(iter(self.loaders.train or ()), None)
        return isinstance(batch, (tuple, list)) and len(batch) == 2

    def first(self) -> torch.Tensor:
        """One sample [1, ...]; BadInput where a sample has several inputs."""
        import torch

        parts = (self.loaders.calibration, self.loaders.train, self.loaders.validation)
        batch = next(item for part in parts if part is not None for item in part)
        inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
        if isinstance(inputs, (dict, tuple, list)):
            raise BadInput(
                f"data: a sample of '{self.name}' has several inputs, which no command can trace. Use "
                "edgekit.compress in Python."
            )
        return torch.as_tensor(inputs)[:1]


def find_samples(reference: str) -> Samples:
    """Data by name or reference; BadInput where there is none, or where it is empty."""
    from edgekit.data.source import resolve_data

    loaders, dataset = resolve_data(reference)
    return Samples(reference, loaders, dataset)


def make_model(
    reference: str, options: Mapping[str, Any] | None = None, *, samples: Samples | None = None
) -> nn.Module:
    """A fresh model, fitted to the data where its options leave that open; the same at each call."""
    import torch

    from edgekit.zoo.source import resolve_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = resolve_model(reference, options=options, dataset=samples.dataset if samples else None)
    if isinstance(made, Path):
        raise BadInput(f"model: '{reference}' is an ONNX file. Name a PyTorch model.")
    return made


def example_for(
    reference: str,
    options: Mapping[str, Any] | None = None,
    *,
    samples: Samples | None = None,
    shape: tuple[int, ...] | None = None,
) -> dict[str, torch.Tensor]:
    """One sample {"input": [1, ...]}: the first of the data, else noise of `shape` or the zoo's own."""
    import torch

    if samples is not None:
        return {"input": samples.first()}
    natural = shape or _natural(reference, options or {})
    if natural is None:
        raise BadInput(
            f"model: the input shape of '{reference}' is not known. Give --input 3,32,32 (one sample, "
            "without the batch) or --data NAME."
        )
    return {"input": torch.randn((1, *natural), generator=torch.Generator().manual_seed(0))}


def is_onnx(reference: str) -> bool:
    """Whether a reference is an ONNX file; BadInput where it is written as one and does not exist."""
    if not reference.lower().endswith(".onnx"):
        return False
    if not Path(reference).expanduser().is_file():
        raise BadInput(f"model: there is no file '{reference}' (looked in {Path.cwd()}). Check the path.")
    return True


def _natural(reference: str, options: Mapping[str, Any]) -> tuple[int, ...] | None:
    if reference not in ENTRIES:
        return None
    shape = ENTRIES[reference].shape
    if "in_features" in options:
        return (int(options["in_features"]),)
    if "in_channels" in options:
        shape = (int(options["in_channels"]), *shape[1:])
    size = options.get("image_size")
    return shape if size is None else (shape[0], int(size), int(size))
