"""The job: data, metric, loss, training loop and device that every step of a recipe works with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import BadInput
from edgekit.metric import MetricFunction, Score, score
from edgekit.signature import Signature

if TYPE_CHECKING:
    import torch
    from torch import nn

    from edgekit.fit import Hooks
    from edgekit.target import Caps

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]
Fit = Callable[[Any, Iterable[Any], "Hooks"], Any]


@dataclass
class Data:
    """Any iterables of batches: (input, target), or inputs alone for calibration.

    An input is a tensor or array [batch, ...], a tuple of them, or a dict by input name. They are iterated once
    an epoch, so a generator object must be wrapped in something re-iterable (a list, a DataLoader).
    """

    train: Iterable[Any] | None = None
    validation: Iterable[Any] | None = None
    calibration: Iterable[Any] | None = None
    name: str = "data"
    fingerprint: str = ""

    def first(self, count: int = 1) -> Data:
        """The same data cut to `count` batches each, for the dry run."""
        cut = lambda batches: None if batches is None else list(islice(iter(batches), count))  # noqa: E731
        return replace(
            self, train=cut(self.train), validation=cut(self.validation), calibration=cut(self.calibration)
        )


@dataclass
class Job:
    """What a step may use. The pipeline fills `caps`, `step` and `work` before each step.

    signature, example {input name: tensor [1, ...]}, data, metric (None: not measured), fit(model, data, hooks),
    loss(outputs, targets) -> scalar, device ("cpu", "cuda"), amp (bfloat16 autocast), seed, work folder.
    """

    signature: Signature
    example: dict[str, torch.Tensor]
    data: Data
    loss: Callable[[Any, Any], torch.Tensor]
    fit: Fit
    metric: MetricFunction | None = None
    device: str = "cpu"
    amp: bool = False
    seed: int = 0
    work: Path = field(default_factory=Path)
    caps: Caps | None = None
    original: nn.Module | None = None  # the model before the first step: the usual teacher
    step: str = ""  # index and name of the running step, a part of every seed
    dry: bool = False
    say: Callable[[str], None] = lambda message: None

    def train(self, model: nn.Module, hooks: Hooks) -> nn.Module:
        """Run the training loop (the user's own or edgekit's) on the training data."""
        if self.data.train is None:
            raise BadInput(
                f"{self.step}: there is no training data. Give data with a train part, or drop the step."
            )
        return self.fit(model, self.data.train, hooks)

    def generator(self, purpose: str) -> torch.Generator:
        """A generator seeded by (seed, step, purpose)."""
        import torch

        return torch.Generator().manual_seed(self.seed_for(purpose))

    def seed_for(self, purpose: str) -> int:
        """A 63-bit seed from (seed, step, purpose)."""
        digest = hashlib.sha256(f"{self.seed}|{self.step}|{purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "little") >> 1

    def calibration_feeds(self) -> Iterator[dict[str, np.ndarray]]:
        """Calibration inputs by name, batch by batch; targets are ignored; training data where none was given."""
        source = self.data.calibration if self.data.calibration is not None else self.data.train
        if source is None:
            raise BadInput(
                f"{self.step}: there is no calibration data. Give data with a calibration part (inputs "
                "suffice, labels are not needed)."
            )
        for batch in source:
            yield as_feeds(split_batch(batch, self.signature)[0], self.signature)

    def evaluate(self, predict: Predict, *, of: str) -> Score | None:
        """The metric of `predict` over the validation data; None where there is no metric or no labelled data."""
        if self.metric is None or self.data.validation is None:
            return None
        outputs, targets = [], []
        for batch in self.data.validation:
            inputs, target = split_batch(batch, self.signature)
            if target is None:
                return None
            outputs.append(np.asarray(predict(as_feeds(inputs, self.signature))))
            targets.append(as_array(target))
        if not outputs:
            raise BadInput("data: the validation part is empty. Give at least one batch.")
        return score(self.metric, np.concatenate(outputs), np.concatenate(targets), of=of)

    def rehearsal(self) -> Job:
        """The same job on one batch, for the dry run."""
        return replace(self, data=self.data.first(), dry=True, say=lambda message: None)


def split_batch(batch: Any, signature: Signature) -> tuple[Any, Any]:
    """(inputs, target or None) of a batch: a 2-tuple is (input, target), anything else is inputs alone."""
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    if isinstance(batch, (tuple, list)) and len(batch) == 1:
        return batch[0], None
    return batch, None


def as_feeds(inputs: Any, signature: Signature) -> dict[str, np.ndarray]:
    """Inputs by name as numpy arrays, whatever container they came in."""
    names = [spec.name for spec in signature.inputs]
    if isinstance(inputs, dict):
        return {name: as_array(value) for name, value in inputs.items()}
    values = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    return {name: as_array(value) for name, value in zip(names, values, strict=True)}


def as_array(value: Any) -> np.ndarray:
    """A tensor or array as numpy, on the CPU."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def call(model: nn.Module, inputs: Any) -> Any:
    """Call a model with a tensor, a tuple of tensors or a dict by parameter name."""
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


def torch_predict(model: nn.Module, device: str = "cpu") -> Predict:
    """A `Predict` over a torch model in evaluation mode: the first output as numpy."""
    import torch

    model = model.to(device).eval()

    def predict(feeds: dict[str, np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            output = model(*(torch.as_tensor(value, device=device) for value in feeds.values()))
        return as_array(output[0] if isinstance(output, (tuple, list)) else output)

    return predict
