"""The model that somebody pointed at: made from its name or reference, with an example input that fits it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadInput
from edgekit.registry import datasets, models

if TYPE_CHECKING:
    import torch
    from torch import nn

# sample shapes that the networks of the zoo were made for; an option of theirs may change the channels
_NATURAL = {
    "resnet8": (3, 32, 32), "resnet18": (3, 224, 224), "mobilenet_v1": (3, 96, 96), "ds_cnn": (1, 49, 10),
    "fc_autoencoder": (640,), "cnv": (3, 32, 32), "tfc": (1, 28, 28), "mlp": (1, 28, 28),
    "gn_lenet": (3, 32, 32),
    "efficientnet_lite0": (3, 224, 224),
}


def make_model(reference: str, options: Mapping[str, Any] | None = None, *, data: Any = None) -> nn.Module:
    """A fresh model; `data` (a Dataset) fills the channels, classes and sizes that `options` leaves open.

    These are in_channels, num_classes, in_features and image_size, where the factory takes them. BadInput where
    the reference makes no module.
    """
    from torch import nn

    made = models.get(reference)
    if isinstance(made, nn.Module):
        return made
    if not callable(made):
        raise BadInput(f"model: '{reference}' is a {type(made).__name__}, not a module or a function that "
                       "makes one.")
    chosen = {**(_from_data(made, data) if data is not None else {}), **(options or {})}
    try:
        model = made(**chosen)
    except TypeError as error:
        raise BadInput(f"model: '{reference}' cannot be made with {chosen or 'no options'}: {error}. "
                       "Give its options as model: {NAME: {option: value}}.") from error
    if not isinstance(model, nn.Module):
        raise BadInput(f"model: '{reference}' returned a {type(model).__name__}, not a torch.nn.Module. "
                       "Return it.")
    return model


def example_for(reference: str, options: Mapping[str, Any] | None = None, *, data: Any = None,
                shape: tuple[int, ...] | None = None) -> dict[str, torch.Tensor]:
    """One sample {"input": [1, ...]}: the first of the data, else noise of `shape` or the zoo's natural shape."""
    import torch

    if data is not None:
        return {"input": _first_sample(data)}
    natural = shape or _natural(reference, options or {})
    if natural is None:
        raise BadInput(f"model: the input shape of '{reference}' is not known. Give --input 3,32,32 "
                       "(one sample, without the batch) or --data NAME.")
    return {"input": torch.randn((1, *natural), generator=torch.Generator().manual_seed(0))}


def find_data(reference: str, options: Mapping[str, Any] | None = None) -> Any:
    """A data set by name or reference: what its function returns."""
    made = datasets.get(reference)
    try:
        return made(**(options or {})) if callable(made) else made
    except TypeError as error:
        raise BadInput(f"data: '{reference}' cannot be made with {dict(options or {}) or 'no options'}: "
                       f"{error}.") \
            from error


def is_onnx(reference: str) -> bool:
    """Whether a reference is an ONNX file; BadInput where it is written as one and does not exist."""
    if not reference.lower().endswith(".onnx"):
        return False
    if not Path(reference).is_file():
        raise BadInput(f"model: there is no file '{reference}' (looked in {Path.cwd()}). Check the path.")
    return True


def _from_data(made: Callable[..., Any], data: Any) -> dict[str, Any]:
    shape, classes = tuple(getattr(data, "shape", ())), getattr(data, "classes", ())
    known: dict[str, Any] = {}
    if shape:
        known["in_features"] = _product(shape)
    if len(shape) == 3:
        known |= {"in_channels": shape[0], "image_size": shape[-1]}
    if classes:
        known["num_classes"] = len(classes)
    taken = inspect.signature(made).parameters
    return {name: value for name, value in known.items() if name in taken}


def _natural(reference: str, options: Mapping[str, Any]) -> tuple[int, ...] | None:
    shape = _NATURAL.get(reference)
    if shape is None:
        return None
    if "in_features" in options:
        return (int(options["in_features"]),)
    if "in_channels" in options:
        shape = (int(options["in_channels"]), *shape[1:])
    size = options.get("image_size")
    return shape if size is None else (shape[0], int(size), int(size))


def _first_sample(data: Any) -> torch.Tensor:
    import torch

    loaded = data.loaders(batch=1, calibration=1) if hasattr(data, "loaders") else data
    parts = (loaded.calibration, loaded.train, loaded.validation)
    batch = next((item for part in parts if part is not None for item in part), None)
    if batch is None:
        raise BadInput("data: there is no batch in any part. Give at least one sample.")
    inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
    if isinstance(inputs, (dict, tuple, list)):
        raise BadInput("data: a sample with several inputs cannot be traced from here. Use edgekit.compress "
                       "in Python "
                       "with an example by input name.")
    return torch.as_tensor(inputs)[:1]


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
