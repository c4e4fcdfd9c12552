"""Teachers: "original" (the model before the first step), a model object, or a reference to one with its
weights.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgekit import registry
from edgekit.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from edgekit.job import Job


def find_teacher(reference: Any, job: Job, *, where: str) -> nn.Module:
    """The teacher in evaluation mode on the job's device, without gradients.

    `reference`: "original", an nn.Module, `package.module:callable` or `./file.py:callable` that returns a
    trained model, or {model: NAME, weights: FILE}. A bare zoo name is refused: its weights would be random.
    """
    if isinstance(reference, nn.Module):
        return _frozen(reference, job)
    if reference == "original":
        if job.original is None:
            raise BadInput(
                f"{where}: there is no original model to teach. Name a teacher: package.module:callable."
            )
        return _frozen(job.original, job)
    if isinstance(reference, Mapping):
        return _frozen(_with_weights(reference, where), job)
    if not isinstance(reference, str) or ":" not in reference:
        raise BadInput(
            f"{where}: teacher '{reference}' names no trained model. Write original, "
            "package.module:callable, or {model: NAME, weights: FILE}."
        )
    return _frozen(_built(reference, where), job)


def load_weights(model: nn.Module, path: str | Path, *, where: str) -> nn.Module:
    """Load a safetensors file or a state_dict (read without pickled code) into a model, strictly."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise BadInput(f"{where}: there is no weights file '{path}'. Check the path.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:
        raise BadInput(
            f"{where}: the weights '{path}' do not load: {str(error).splitlines()[0]}. Give a state_dict "
            "or safetensors file of this model."
        ) from error
    return model


def settings_with_teacher(step: Any) -> dict[str, Any]:
    """A step's fields as plain JSON, a teacher object replaced by the hash of its weights."""
    values = {item.name: getattr(step, item.name) for item in fields(step)}
    if isinstance(values["teacher"], nn.Module):
        values["teacher"] = f"weights {weights_hash(values['teacher'])}"
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def weights_hash(model: nn.Module) -> str:
    """16 hexadecimal digits over the names and bytes of every tensor."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _with_weights(reference: Mapping[str, Any], where: str) -> nn.Module:
    for key in reference:
        if key not in ("model", "weights"):
            raise BadInput(f"{where}: teacher has no key '{key}'. {did_you_mean(key, ('model', 'weights'))}")
    if "model" not in reference or "weights" not in reference:
        raise BadInput(
            f"{where}: a teacher needs both model and weights. Write {{model: NAME, weights: FILE}}."
        )
    return load_weights(_built(reference["model"], where), reference["weights"], where=f"{where}: teacher")


def _built(reference: str, where: str) -> nn.Module:
    maker = registry.models.get(reference)
    model = maker if isinstance(maker, nn.Module) else maker()
    if not isinstance(model, nn.Module):
        raise BadInput(
            f"{where}: teacher '{reference}' gave a {type(model).__name__}, not an nn.Module. Let the "
            "callable return the model."
        )
    return model


def _frozen(model: nn.Module, job: Job) -> nn.Module:
    return copy.deepcopy(model).to(job.device).eval().requires_grad_(False)
