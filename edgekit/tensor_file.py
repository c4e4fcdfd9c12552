"""A state dict as a safetensors file: each shared tensor once, a digest of the contents, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadInput

if TYPE_CHECKING:
    import torch
    from torch import nn

LARGEST_HEADER = 100_000_000  # bytes: the limit of the safetensors format


def unshared(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Each tensor of the state dict once, and {other name: stored name} for those that share all of it."""
    import torch

    tensors: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[Any, str] = {}
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            raise BadInput(
                f"container: '{name}' in the state dict is a {type(value).__name__}, no tensor. Register "
                "it as a buffer, or leave it out of get_extra_state()."
            )
        place = (value.data_ptr(), value.dtype, tuple(value.shape), value.stride())
        if value.numel() and place in seen:
            aliases[name] = seen[place]
            continue
        seen[place] = name
        tensors[name] = value.detach().cpu().contiguous().clone()
    return tensors, aliases


def tensor_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over name, dtype, shape and bytes of every tensor in order of name."""
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        found.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def encode(tensors: dict[str, torch.Tensor]) -> bytes:
    """The bytes of a safetensors file; BadInput where a tensor is of a kind the format lacks."""
    from safetensors import SafetensorError
    from safetensors.torch import save

    try:
        return save(tensors)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"container: a tensor cannot be stored: {error}. Use dense tensors.") from error


def write(path: Path, tensors: Mapping[str, torch.Tensor], what: str, advice: str) -> None:
    """Write a safetensors file whole or not at all; BadInput, which ends with the advice, where there is no room."""
    temporary = path.with_suffix(".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(encode({name: value.cpu().contiguous() for name, value in tensors.items()}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or error
        raise BadInput(f"{path}: the {what} cannot be written: {reason}. {advice}") from error


def read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file; BadInput where it is torn or forged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with open(path, "rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > min(LARGEST_HEADER, path.stat().st_size - 8):
        raise BadInput(
            f"container: '{path}' claims a header of {header} bytes, which cannot be. The file is torn or "
            "forged: fetch it again."
        )
    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise BadInput(f"container: '{path}' cannot be read: {error}. Fetch it again.") from error


def check_fits(model: nn.Module, state: Mapping[str, torch.Tensor], where: str) -> None:
    """One line for the first name or shape that load_state_dict would refuse in many."""
    wanted = model.state_dict()
    advice = "Give the model (and its arguments) that the container was made from."
    for name, value in wanted.items():
        if name not in state:
            raise BadInput(f"container: {where} has no tensor '{name}', which the model needs. {advice}")
        if state[name].shape != value.shape:
            raise BadInput(
                f"container: {where}: '{name}' has the shape {list(state[name].shape)}, the model takes "
                f"{list(value.shape)}. {advice}"
            )
    for name in state:
        if name not in wanted:
            raise BadInput(f"container: {where} has the tensor '{name}', which the model lacks. {advice}")
