"""The checkpoint of a fit: after each epoch, tensors and plain numbers only, so that a killed fit goes on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgekit.errors import BadInput

if TYPE_CHECKING:
    from edgekit.fit import Hooks


class Checkpoint:
    """The file of one fit, named by everything that decides its result: settings, seeds and first weights.

    A fit that had finished is not trained again; its file then holds weights only.
    """

    def __init__(self, hooks: Hooks, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._hooks, self._model, self._optimizer = hooks, model, optimizer
        self._path: Path | None = hooks.work / f"fit-{_key(hooks, model)}.pt" if hooks.work else None

    @classmethod
    def open(cls, hooks: Hooks, model: nn.Module, optimizer: torch.optim.Optimizer) -> Checkpoint:
        """The checkpoint of this fit; where its file exists, model, optimizer and hooks are set to it."""
        checkpoint = cls(hooks, model, optimizer)
        if checkpoint._path is not None and checkpoint._path.is_file():
            checkpoint._restore(checkpoint._path)
        return checkpoint

    def save(self, epoch: int) -> None:
        """Write the state after `epoch`; a kill leaves the old file or the new one."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        try:
            torch.save(self._state(epoch), partial)
            os.replace(partial, self._path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise BadInput(
                f"{self._hooks.label}: the checkpoint {self._path} cannot be written: {error}. Free some "
                "disk space, or choose another --out; the last epoch saved is kept."
            ) from error

    def _state(self, epoch: int) -> dict[str, Any]:
        state: dict[str, Any] = {
            "epoch": epoch,
            "steps": self._hooks.steps,
            "model": self._model.state_dict(),
        }
        if epoch + 1 == self._hooks.epochs:
            return state
        state["optimizer"] = self._optimizer.state_dict()
        if self._hooks.extra_parameters:
            state["extra"] = [parameter.detach() for parameter in self._hooks.extra_parameters]
            state["extra_optimizer"] = self._hooks.ready_extra_optimizer().state_dict()
        return state

    def _restore(self, path: Path) -> None:
        state = torch.load(path, map_location="cpu", weights_only=True)
        hooks = self._hooks
        self._model.load_state_dict(state["model"])
        hooks.first_epoch, hooks.steps = state["epoch"] + 1, state["steps"]
        if "optimizer" in state:
            self._optimizer.load_state_dict(state["optimizer"])
            hooks.say(f"{hooks.label}: going on at epoch {hooks.first_epoch} of {hooks.epochs}")
        if "extra" in state:
            with torch.no_grad():
                for parameter, value in zip(hooks.extra_parameters, state["extra"], strict=True):
                    parameter.copy_(value)
            hooks.ready_extra_optimizer().load_state_dict(state["extra_optimizer"])


def _key(hooks: Hooks, model: nn.Module) -> str:
    settings = (
        hooks.label,
        hooks.epochs,
        hooks.lr,
        hooks.optimizer,
        hooks.weight_decay,
        hooks.seed_for_epoch(0),
    )
    digest = hashlib.sha256(repr(settings).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        if torch.is_tensor(value):
            digest.update(str(tuple(value.shape)).encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
