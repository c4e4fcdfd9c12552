"""From what a recipe says about a model to the model: a zoo name, the user's own class, or an ONNX file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.data.source import call_with, parameters_of, split_spec
from edgekit.errors import BadInput
from edgekit.registry import models

if TYPE_CHECKING:
    import torch
    from torch import nn

    from edgekit.data.dataset import Dataset

TORCH_FILES = (".pt", ".pth", ".bin", ".ckpt")


def resolve_model(
    spec: Any,
    *,
    weights: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    dataset: Dataset | None = None,
) -> nn.Module | Path:
    """The model `spec` names, with `weights` loaded, or the path of FILE.onnx.

    `spec` is a zoo name, `package.module:callable`, `./file.py:Name`, {one of these: options}, FILE.onnx, or
    an
    nn.Module. For a zoo model, num_classes, in_channels, in_features and image_size follow `dataset` where
    the
    options do not say. `weights` is a state dict in .pt, .pth or .safetensors. Raises BadInput.
    """
    from torch import nn

    if isinstance(spec, nn.Module):
        return _ready(spec, weights, "model")
    if isinstance(spec, Path):
        spec = str(spec)
    name, own = split_spec(spec, kind="model")
    if name.lower().endswith(".onnx"):
        return _onnx(name, weights, {**own, **(options or {})})
    where = f"model '{name}'"
    model = _build(name, {**own, **(options or {})}, where, dataset)
    return _ready(model, weights, where)


def _build(name: str, options: dict[str, Any], where: str, dataset: Dataset | None) -> Any:
    from torch import nn

    found = models.get(name)
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise BadInput(
            f"{where}: it is {type(found).__name__}, not a class or function. Name what builds the model."
        )
    if dataset is not None and ":" not in name:
        options = {**fitting_options(found, dataset), **options}
    return call_with(found, options, where)


def fitting_options(builder: Any, dataset: Dataset) -> dict[str, Any]:
    """The options of a zoo builder that a data set decides: those among these four that the builder has."""
    shape = dataset.shape
    facts = {"in_features": math.prod(shape)}
    if dataset.classes:
        facts["num_classes"] = len(dataset.classes)
    if len(shape) == 3:
        facts["in_channels"], facts["image_size"] = shape[0], shape[1]
    return {key: value for key, value in facts.items() if key in (parameters_of(builder) or {})}


def _onnx(name: str, weights: str | Path | None, options: Mapping[str, Any]) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise BadInput(f"model: there is no file '{name}' (looked in {Path.cwd()}). Check the path.")
    if weights is not None or options:
        raise BadInput(f"model '{name}': an ONNX file has its own weights and takes no options. Drop them.")
    return path


def _ready(model: Any, weights: str | Path | None, where: str) -> nn.Module:
    from torch import nn

    if not isinstance(model, nn.Module):
        raise BadInput(f"{where}: it gives {type(model).__name__}, not a torch.nn.Module. Return the model.")
    if weights is not None:
        load_weights(model, weights)
    check_finite(model, where)
    return model


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a state dict into `model`; BadInput names the first key that is missing, unexpected or
    misshapen."""
    state, own = read_state(Path(path).expanduser()), model.state_dict()
    if (
        state
        and all(key.startswith("module.") for key in state)
        and not any(key.startswith("module.") for key in own)
    ):
        state = {
            key.removeprefix("module."): value for key, value in state.items()
        }  # saved from DataParallel
    for key, value in own.items():
        if key not in state:
            raise BadInput(
                f"weights: '{path}' has no '{key}', which the model needs. Check model and options."
            )
        if state[key].shape != value.shape:
            raise BadInput(
                f"weights: '{key}' of '{path}' is {list(state[key].shape)}, the model's is "
                f"{list(value.shape)}. Check the model's options, such as width or num_classes."
            )
    unexpected = [key for key in state if key not in own]
    if unexpected:
        raise BadInput(
            f"weights: '{path}' has '{unexpected[0]}', which the model lacks. Check model and options."
        )
    model.load_state_dict(state)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a .safetensors file, or in a .pt file read with weights_only, alone or under
    'state_dict'."""
    import torch

    if not path.is_file():
        raise BadInput(f"weights: there is no file '{path}' (looked in {Path.cwd()}). Check the path.")
    if path.suffix not in (*TORCH_FILES, ".safetensors"):
        raise BadInput(
            f"weights: '{path}' is of no known kind. Give a state dict as .pt, .pth or .safetensors."
        )
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadInput(f"weights: '{path}' is no state dict. Save model.state_dict(), not the model.")
    return state


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"weights: '{path}' cannot be read: {error}. Save it again.") from error


def _read_torch(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # torch raises many kinds for a broken file, and pickle's own for a refused one
        raise BadInput(
            f"weights: '{path}' holds no plain state dict ({type(error).__name__}). Save "
            "model.state_dict() with torch.save, or use safetensors."
        ) from error


def check_finite(model: nn.Module, where: str = "model") -> None:
    """Raise BadInput naming the first parameter or buffer with a NaN or an infinity."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            kind = "NaN" if bool(value.isnan().any()) else "infinite"
            raise BadInput(
                f"{where}: the tensor '{name}' has {kind} values. Train again or load good weights."
            )
