"""The training loop that edgekit brings, and `Hooks`, through which a step steers this loop or the user's
own.

A loop of your own is a function `fit(model, data, hooks) -> model`:

    def fit(model, data, hooks):
        optimizer = torch.optim.SGD(model.parameters(), lr=hooks.lr or 0.01)
        for epoch in hooks.epochs_iter(data):        # seeds, set_epoch, progress; yields the epoch number
            for inputs, targets in data:
                optimizer.zero_grad()
                loss(model(inputs), targets).backward()
                optimizer.step()
                hooks.step()                         # once a batch, directly after optimizer.step()
        return model

What a step adds to the loss (a teacher, for one) enters through gradients at the model's outputs, so your
loop need not know of it. That term is a mean over the batch: a loop that scales its loss (gradient
accumulation, a GradScaler) does not scale it along.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from edgekit.checkpoint import Checkpoint
from edgekit.errors import BadInput
from edgekit.job import call
from edgekit.progress import Progress, Silent, make_progress
from edgekit.schedule import cosine_with_warmup

if TYPE_CHECKING:
    from edgekit.job import Fit, Job

LEARNING_RATES = {"adamw": 1e-3, "sgd": 1e-2}


@dataclass
class Hooks:
    """What a step asks of a training loop.

    `lr` None leaves the rate to the loop. `extra_parameters` belong to the step, not to the model: leave them
    out of your optimizer, `step()` updates them (AdamW). `on_epoch` callables get (epoch, model) after each
    epoch of the loop, `after_step` callables run after each batch, `work` is where a killed fit is resumed
    from.
    """

    epochs: int
    lr: float | None = None
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    seed_for_epoch: Callable[[int], int] = lambda epoch: epoch
    label: str = "train"
    extra_parameters: list[nn.Parameter] = field(default_factory=list)
    on_epoch: list[Callable[[int, nn.Module], None]] = field(default_factory=list)
    after_step: list[Callable[[], None]] = field(default_factory=list)
    say: Callable[[str], None] = lambda message: None
    progress: Progress = field(default_factory=Silent)
    work: Path | None = None
    first_epoch: int = field(default=0, init=False)
    steps: int = field(default=0, init=False)
    extra_optimizer: torch.optim.Optimizer | None = field(default=None, init=False)

    @classmethod
    def for_job(cls, job: Job, *, epochs: int, label: str, **settings: Any) -> Hooks:
        """Hooks with the job's seeds, progress and work folder; one epoch and no checkpoint in the dry
        run.
        """
        return cls(
            epochs=min(epochs, 1) if job.dry else epochs,
            label=label,
            say=job.say,
            seed_for_epoch=lambda epoch: job.seed_for(f"{label}/epoch {epoch}"),
            progress=Silent() if job.dry else make_progress(job.say),
            work=None if job.dry or job.work == Path() else job.work,
            **settings,
        )

    def epochs_iter(self, data: Iterable[Any] | None = None, model: nn.Module | None = None) -> Iterator[int]:
        """Yield the epochs; before each, seed torch, numpy and random and call `set_epoch` of data or its
        sampler.

        Raises BadInput after an epoch in which `step()` was never called.
        """
        self.progress.start(self.label, self.epochs)
        try:
            for epoch in range(self.first_epoch, self.epochs):
                seed_everything(self.seed_for_epoch(epoch))
                _set_epoch(data, epoch, self.seed_for_epoch(epoch))
                before = self.steps
                yield epoch
                self._end_of_epoch(epoch, before, model)
        finally:
            self.progress.stop()

    def _end_of_epoch(self, epoch: int, before: int, model: nn.Module | None) -> None:
        if self.steps == before:
            raise BadInput(
                f"{self.label}: epoch {epoch} ended without a batch. Either the training data is empty, or "
                "the fit does not call hooks.step() after optimizer.step()."
            )
        for callback in self.on_epoch:
            callback(epoch, model)  # type: ignore[arg-type]
        self.progress.advance(epoch + 1)

    def step(self) -> None:
        """Once a batch, directly after the optimizer's step: updates `extra_parameters`, runs
        `after_step`.
        """
        self.steps += 1
        if self.extra_parameters:
            self.ready_extra_optimizer().step()
            self.ready_extra_optimizer().zero_grad(set_to_none=True)
        for callback in self.after_step:
            callback()

    def ready_extra_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of `extra_parameters`, made at its first use."""
        if self.extra_optimizer is None:
            rate = self.lr if self.lr and self.optimizer == "adamw" else LEARNING_RATES["adamw"]
            self.extra_optimizer = torch.optim.AdamW(self.extra_parameters, lr=rate, weight_decay=0.0)
        return self.extra_optimizer


def make_fit(loss: Callable[[Any, Any], torch.Tensor], device: str = "cpu", amp: bool = False) -> Fit:
    """The default loop: AdamW or SGD with momentum 0.9, cosine rate with a short warm-up, bfloat16 where
    `amp`.

    The loop is resumed from `hooks.work` after a kill, at the epoch it had reached, with the same result.
    Raises BadInput for weights or a loss that are not finite, and for data without batches or without
    targets.
    """

    def fit(model: nn.Module, data: Iterable[Any], hooks: Hooks) -> nn.Module:
        # channels last: a third faster for convolutions in training on the CPU (AVX-512), and on GPUs with tensor cores
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        check_finite(model, hooks.label)
        optimizer = make_optimizer(model, hooks)
        checkpoint = Checkpoint.open(hooks, model, optimizer)
        hooks.on_epoch.append(
            lambda epoch, trained: checkpoint.save(epoch)
        )  # last: after what a step does there
        for epoch in hooks.epochs_iter(data, model):
            _train_epoch(model.train(), data, hooks, optimizer, epoch, loss=loss, device=device, amp=amp)
        return model.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]

    return fit


def _train_epoch(
    model: nn.Module,
    data: Iterable[Any],
    hooks: Hooks,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    *,
    loss: Callable[[Any, Any], torch.Tensor],
    device: str,
    amp: bool,
) -> None:
    length = len(data) if isinstance(data, Sized) else 0
    for index, batch in enumerate(data):
        inputs, targets = (to_device(part, device) for part in _unpack(batch, hooks.label))
        within = index / length if length else 0.0
        _set_rate(optimizer, cosine_with_warmup((epoch + within) / hooks.epochs))
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=amp):
            value = loss(call(model, inputs), targets)
        _check_loss(value, f"{hooks.label}, epoch {epoch}, batch {index}", hooks)
        value.backward()
        optimizer.step()
        hooks.step()
        hooks.progress.advance(epoch + within, f"loss {value.item():.4f}")


def make_optimizer(model: nn.Module, hooks: Hooks) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum 0.9, over the parameters that require a gradient."""
    if hooks.optimizer not in LEARNING_RATES:
        raise BadInput(
            f"{hooks.label}: the optimizer '{hooks.optimizer}' is unknown. Choose adamw or sgd, or bring a "
            "fit of your own."
        )
    rate = LEARNING_RATES[hooks.optimizer] if hooks.lr is None else hooks.lr
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer
    if hooks.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=hooks.weight_decay)
    else:
        optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=hooks.weight_decay)
    for group in optimizer.param_groups:
        group["peak"] = rate
    return optimizer


def _set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and random."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def to_device(value: Any, device: str) -> Any:
    """Tensors and arrays in any nesting of tuples, lists and dicts, as tensors on a device."""
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(to_device(item, device) for item in value)
    return (
        torch.as_tensor(value).to(device)
        if isinstance(value, (torch.Tensor, np.ndarray, np.generic))
        else value
    )


def check_finite(model: nn.Module, where: str) -> None:
    """Raise BadInput naming the first tensor of the model that holds a NaN or an infinity."""
    for name, value in model.state_dict().items():
        if torch.is_tensor(value) and value.is_floating_point() and not torch.isfinite(value).all():
            raise BadInput(f"{where}: the weights '{name}' hold NaN or infinite values. Load sound weights.")


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """-log softmax(outputs)[target], mean over the batch; outputs [n, classes, ...], targets [n, ...] class
    numbers.
    """
    return F.cross_entropy(outputs, targets if targets.is_floating_point() else targets.long())


def mean_squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean of (output - target)^2 over every element; both of one shape."""
    return F.mse_loss(outputs, targets)


def _cross_entropy_per_row(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """cross_entropy of every row of outputs [rows, n, classes] and class numbers [rows, n]."""
    flat = F.cross_entropy(outputs.flatten(0, 1), targets.flatten().long(), reduction="none")
    return flat.view(targets.shape).mean(1)


def _mean_squared_error_per_row(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(outputs, targets, reduction="none").flatten(1).mean(1)


# what training many models at once calls instead of a loop over them
cross_entropy.per_row = _cross_entropy_per_row  # type: ignore[attr-defined]
mean_squared_error.per_row = _mean_squared_error_per_row  # type: ignore[attr-defined]


def _unpack(batch: Any, where: str) -> tuple[Any, Any]:
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    raise BadInput(
        f"{where}: the training data has no targets (a batch is a {type(batch).__name__}, not a pair). "
        "Give batches (input, target)."
    )


def _check_loss(value: torch.Tensor, where: str, hooks: Hooks) -> None:
    if not torch.isfinite(value).all():
        rate = LEARNING_RATES[hooks.optimizer] if hooks.lr is None else hooks.lr
        raise BadInput(
            f"{where}: the loss is {value.item()}. Lower lr (now {rate:g}), or look for NaN in this batch "
            "of the data."
        )


def _set_epoch(data: Any, epoch: int, seed: int) -> None:
    owners: tuple[Any, ...] = (data, getattr(data, "sampler", None))
    for owner in owners:
        if hasattr(owner, "set_epoch"):
            owner.set_epoch(epoch)
        if isinstance(getattr(owner, "generator", None), torch.Generator):
            owner.generator.manual_seed(seed)  # a stream of its own would not survive a resume
