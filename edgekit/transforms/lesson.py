"""A lesson: the teacher's loss terms, given as gradients at the student's tensors, so that any loop can
train it.

The student's output z gets a hook that turns the gradient g of the task's loss into (1 - w) g + w
d(term)/dz; a hinted feature f gets g + h d(hint)/df. The gradients of the whole loss with respect to all
weights follow exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from edgekit.analysis.heads import tensors_of
from edgekit.analysis.layers import example_on, find_layer, in_evaluation
from edgekit.errors import BadInput
from edgekit.job import call

if TYPE_CHECKING:
    from edgekit.job import Job


def softened(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) over dimension 1 [n, classes, ...], mean over the
    rest.
    """
    divergence = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="none",
        log_target=True,
    ).sum(dim=1)
    return temperature**2 * divergence.mean()


def check_lesson(weight: float, temperature: float, where: str) -> None:
    """Raise BadInput for a part of the loss or a temperature that no lesson can have."""
    if not 0 <= weight <= 1:
        raise BadInput(
            f"{where}: weight is {weight}, the teacher's part of the loss. Give a number from 0 to 1."
        )
    if temperature <= 0:
        raise BadInput(f"{where}: temperature is {temperature}. Give a positive number, usually 2 to 8.")


class Lesson:
    """Within the block, every forward pass of the student in training is answered by the teacher."""

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        temperature: float = 4.0,
        weight: float = 0.5,
        match: str = "logits",
        pairs: Mapping[str, str] | None = None,
        adapters: Mapping[str, nn.Module] | None = None,
        hint_weight: float = 1.0,
    ) -> None:
        self.student, self.teacher = student, teacher
        self.temperature, self.weight, self.match = temperature, weight, match
        self.pairs, self.adapters, self.hint_weight = dict(pairs or {}), dict(adapters or {}), hint_weight
        self.given = 0  # backward passes that reached the student's output
        self._answer: dict[str, torch.Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Lesson:
        add = self._handles.append
        add(self.student.register_forward_pre_hook(self._new_answer))
        for layer, teachers in self.pairs.items():
            add(
                find_layer(self.student, layer, where="distil: hints").register_forward_hook(
                    self._hint(layer)
                )
            )
            add(
                find_layer(self.teacher, teachers, where="distil: hints (teacher)").register_forward_hook(
                    self._remember(layer)
                )
            )
        add(self.student.register_forward_hook(self._ask, with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._answer = {}

    def _new_answer(self, module: nn.Module, inputs: Any) -> None:
        self._answer = {}  # hooks of an earlier pass keep that pass's own

    def _remember(self, layer: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            self._answer[layer] = output.detach()

        return hook

    def _hint(self, layer: str) -> Callable[..., torch.Tensor | None]:
        def hook(module: nn.Module, inputs: Any, feature: torch.Tensor) -> torch.Tensor | None:
            if not (torch.is_grad_enabled() and feature.requires_grad):
                return None
            answer, seen = self._answer, feature.clone()  # a clone: the next layer may work in place
            seen.register_hook(
                lambda gradient: gradient + self._hint_gradient(layer, seen.detach(), answer[layer])
            )
            return seen

        return hook

    def _ask(self, module: nn.Module, inputs: Any, named: dict[str, Any], output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        with torch.no_grad():
            answers = list(tensors_of(self.teacher(*inputs, **named)))
        for student, teacher in zip(list(tensors_of(output)), answers, strict=True):
            if student.requires_grad:
                student.register_hook(self._teach(student.detach(), teacher))

    def _teach(self, student: torch.Tensor, teacher: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        def hook(gradient: torch.Tensor) -> torch.Tensor:
            self.given += 1
            return (1 - self.weight) * gradient + self.weight * self._term_gradient(student, teacher)

        return hook

    def _term_gradient(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            leaf = student.clone().requires_grad_()
            if self.match == "values":
                term = F.mse_loss(leaf.float(), teacher.float())
            else:
                term = softened(leaf.float(), teacher.float(), self.temperature)
            return torch.autograd.grad(term, leaf)[0]

    def _hint_gradient(self, layer: str, feature: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        adapter = self.adapters.get(layer, nn.Identity())
        parameters = list(adapter.parameters())
        with torch.enable_grad():
            leaf = feature.clone().requires_grad_()
            term = self.hint_weight * F.mse_loss(adapter(leaf.float()), wanted.float())
            own, *others = torch.autograd.grad(term, [leaf, *parameters])
        for parameter, gradient in zip(parameters, others, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return own


def make_adapters(
    student: nn.Module, teacher: nn.Module, pairs: Mapping[str, str], job: Job
) -> dict[str, nn.Module]:
    """A 1x1 convolution (or a linear layer) by student layer, wherever a hint's widths differ.

    Raises BadInput for layers that do not exist, with the nearest name, and for features of different extent.
    """
    if not pairs:
        return {}
    seen = _features(student, list(pairs), job, "distil: hints")
    wanted = _features(teacher, list(pairs.values()), job, "distil: hints (teacher)")
    adapters: dict[str, nn.Module] = {}
    for layer, other in pairs.items():
        have, want = seen[layer], wanted[other]
        if len(have) != len(want) or have[2:] != want[2:]:
            raise BadInput(
                f"distil: hints: {layer} gives {list(have)} and the teacher's {other} {list(want)}; all "
                "but the channels must agree. Choose layers of equal resolution."
            )
        if have[1] != want[1]:
            adapters[layer] = _adapter(have, want, job.generator(f"adapter {layer}")).to(job.device)
    return adapters


def _adapter(have: tuple[int, ...], want: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    makers: dict[int, Any] = {
        2: nn.Linear,
        3: lambda a, b: nn.Conv1d(a, b, 1),
        4: lambda a, b: nn.Conv2d(a, b, 1),
    }
    if len(have) not in makers:
        raise BadInput(
            f"distil: hints: a feature of shape {list(have)} cannot be adapted. Choose a layer whose "
            "features are [n, c], [n, c, t] or [n, c, h, w]."
        )
    adapter = makers[len(have)](have[1], want[1])
    with torch.no_grad():
        adapter.weight.normal_(0, have[1] ** -0.5, generator=generator)
        adapter.bias.zero_()
    return adapter


def _features(model: nn.Module, layers: list[str], job: Job, where: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    handles = [
        find_layer(model, layer, where=where).register_forward_hook(
            lambda module, inputs, output, layer=layer: shapes.update({layer: tuple(output.shape)})
        )
        for layer in layers
    ]
    try:
        with in_evaluation(model), torch.no_grad():
            call(model, example_on(model, job.example))
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        if layer not in shapes:
            raise BadInput(f"{where}: the layer '{layer}' is not called by the model. Choose another.")
    return shapes
