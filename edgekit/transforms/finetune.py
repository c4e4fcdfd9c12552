"""Fine-tune: train the model on, with the task's loss alone or beside a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from edgekit.analysis.cost import cost
from edgekit.change import Change
from edgekit.fit import Hooks
from edgekit.transforms.base import Transform, check_epochs
from edgekit.transforms.lesson import check_lesson

if TYPE_CHECKING:
    from edgekit.job import Job


@dataclass(frozen=True)
class Finetune(Transform):
    """Train for `epochs`; with a `teacher` the loss is that of `Distil` without hints.

    `lr` None is the loop's own rate (AdamW 1e-3, SGD 1e-2 in edgekit's). `teacher` is "original", a model,
    or a reference (see `transforms.teacher`).
    """

    epochs: int
    lr: float | None = None
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    teacher: Any = None
    temperature: float = 4.0
    weight: float = 0.5

    name: ClassVar[str] = "finetune"
    trains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_epochs(self.epochs, self.name)
        if self.teacher is not None:
            check_lesson(self.weight, self.temperature, self.name)

    def apply(self, model: nn.Module, job: Job) -> tuple[nn.Module, Change]:
        """The trained model; its structure is as before."""
        if self.teacher is not None:
            from edgekit.transforms.distil import Distil

            return Distil(
                epochs=self.epochs,
                lr=self.lr,
                optimizer=self.optimizer,
                weight_decay=self.weight_decay,
                teacher=self.teacher,
                temperature=self.temperature,
                weight=self.weight,
            ).apply(model, job)
        before = cost(model, job.example)
        model = job.train(
            model,
            Hooks.for_job(
                job,
                epochs=self.epochs,
                lr=self.lr,
                optimizer=self.optimizer,
                weight_decay=self.weight_decay,
                label=self.name,
            ),
        )
        return model, Change(before, cost(model, job.example))

    def settings(self) -> dict[str, Any]:
        """The recipe step as plain JSON; a teacher given as an object is named by its weights."""
        from edgekit.transforms.teacher import settings_with_teacher

        return settings_with_teacher(self)
