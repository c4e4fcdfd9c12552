"""Distil: train the model to answer as its teacher does, and where asked to see what the teacher sees.

loss = (1 - w) task + w T^2 KL(softmax(teacher / T) || softmax(student / T))  (Hinton, Vinyals and Dean, 2015)
     + h sum over hints of mean((adapter(student feature) - teacher feature)^2)  (Romero et al., 2015,
     FitNets)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from edgekit.analysis.cost import cost
from edgekit.change import Change
from edgekit.errors import BadInput
from edgekit.fit import Hooks
from edgekit.transforms.base import Transform, check_epochs
from edgekit.transforms.lesson import Lesson, check_lesson, make_adapters
from edgekit.transforms.teacher import find_teacher, settings_with_teacher

if TYPE_CHECKING:
    from edgekit.job import Job


@dataclass(frozen=True)
class Distil(Transform):
    """Train for `epochs` beside a `teacher`, in any training loop.

    `hints` maps student layers to teacher layers (or lists layers of one name in both); where widths differ
    a 1x1 adapter is trained along and thrown away. `match` is "logits" (softened classes) or "values" (mean
    squared difference of the outputs, for regression and autoencoders).
    """

    epochs: int
    teacher: Any = "original"
    temperature: float = 4.0
    weight: float = 0.5
    hints: Mapping[str, str] | tuple[str, ...] = field(default_factory=dict)
    hint_weight: float = 1.0
    match: str = "logits"
    lr: float | None = None
    optimizer: str = "adamw"
    weight_decay: float = 0.0

    name: ClassVar[str] = "distil"
    trains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_epochs(self.epochs, self.name)
        check_lesson(self.weight, self.temperature, self.name)
        if self.match not in ("logits", "values"):
            raise BadInput(f"{self.name}: match '{self.match}' is unknown. Choose logits or values.")

    def apply(self, model: nn.Module, job: Job) -> tuple[nn.Module, Change]:
        """The taught model; its structure is as before, teacher, hooks and adapters are gone."""
        before = cost(model, job.example)
        teacher = find_teacher(self.teacher, job, where=self.name)
        pairs = (
            dict(self.hints) if isinstance(self.hints, Mapping) else {layer: layer for layer in self.hints}
        )
        adapters = make_adapters(model.to(job.device), teacher, pairs, job)
        hooks = Hooks.for_job(
            job,
            epochs=self.epochs,
            lr=self.lr,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            label=self.name,
        )
        hooks.extra_parameters += [
            parameter for adapter in adapters.values() for parameter in adapter.parameters()
        ]
        with Lesson(
            model,
            teacher,
            temperature=self.temperature,
            weight=self.weight,
            match=self.match,
            pairs=pairs,
            adapters=adapters,
            hint_weight=self.hint_weight,
        ) as lesson:
            model = job.train(model, hooks)
        if not lesson.given:
            raise BadInput(
                f"{self.name}: the fit never ran a backward pass through the model it was given, so the "
                "teacher taught nothing. Let the fit train that model, not a copy."
            )
        return model, Change(before, cost(model, job.example))

    def settings(self) -> dict[str, Any]:
        """The recipe step as plain JSON; a teacher given as an object is named by its weights."""
        return settings_with_teacher(self)
