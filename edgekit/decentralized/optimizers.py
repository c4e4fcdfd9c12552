"""Local optimizers on rows [A, P]: each row is an agent's own model with its own momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from edgekit.decentralized.layout import Layout
from edgekit.errors import BadInput

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Optimizer:
    """Base: `step` moves rows against a gradient, in place.

    `memory` names the rows of state [A, P] it keeps, `counters` those [A, 1]; the engine makes them, zero at first,
    and saves them.
    """

    lr: float = 0.1
    weight_decay: float = 0.0

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise BadInput(f"{self.name}: lr is {self.lr:g}. Give a rate above 0.")
        if self.weight_decay < 0:
            raise BadInput(f"{self.name}: weight_decay is {self.weight_decay:g}. Give 0 or more.")

    @property
    def memory(self) -> tuple[str, ...]:
        """Names of the rows kept between steps."""
        return ()

    @property
    def counters(self) -> tuple[str, ...]:
        """Names of the numbers kept for each row."""
        return ()

    @property
    def plain(self) -> bool:
        """Whether a step is x - lr g and nothing else."""
        return False

    def step(self, x: torch.Tensor, gradient: torch.Tensor, lr: float, kept: State, layout: Layout) -> None:
        """x <- x - lr (direction), in place; `kept` holds the memory of these rows, `gradient` may be overwritten."""
        raise NotImplementedError


@dataclass(frozen=True)
class Sgd(Optimizer):
    """SGD: v <- m v + g + wd x; x <- x - lr v, or x - lr (g + wd x + m v) where `nesterov`.

    Polyak, 1964; Nesterov, 1983, in the form of Sutskever et al., 2013.
    """

    momentum: float = 0.0
    nesterov: bool = False

    name: ClassVar[str] = "sgd"
    source: ClassVar[str] = "Robbins and Monro, 1951"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise BadInput(f"sgd: momentum is {self.momentum:g}. Give a number from 0 to below 1.")
        if self.nesterov and not self.momentum:
            raise BadInput(
                "sgd: nesterov looks ahead by the momentum, which is 0. Give momentum, such as 0.9."
            )

    @property
    def memory(self) -> tuple[str, ...]:
        """The momentum, where there is one."""
        return ("momentum",) if self.momentum else ()

    @property
    def plain(self) -> bool:
        """Without momentum and decay."""
        return not self.momentum and not self.weight_decay

    def step(self, x: torch.Tensor, gradient: torch.Tensor, lr: float, kept: State, layout: Layout) -> None:
        """x <- x - lr v."""
        if self.weight_decay:
            gradient.add_(x, alpha=self.weight_decay)
        if not self.momentum:
            x.add_(gradient, alpha=-lr)
            return
        momentum = kept["momentum"].mul_(self.momentum).add_(gradient)
        x.add_(gradient.add_(momentum, alpha=self.momentum) if self.nesterov else momentum, alpha=-lr)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """AdamW: x <- (1 - lr wd) x - lr m^ / (sqrt(v^) + eps), with moments corrected for their start at 0.

    Kingma and Ba, 2015; Loshchilov and Hutter, 2019.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    name: ClassVar[str] = "adamw"
    source: ClassVar[str] = "Loshchilov and Hutter, 2019"

    @property
    def memory(self) -> tuple[str, ...]:
        """Both moments."""
        return ("first", "second")

    @property
    def counters(self) -> tuple[str, ...]:
        """The steps that each row has taken."""
        return ("counts",)

    def step(self, x: torch.Tensor, gradient: torch.Tensor, lr: float, kept: State, layout: Layout) -> None:
        """The decoupled decay, then the step."""
        if self.weight_decay:
            x.mul_(1 - lr * self.weight_decay)
        x.sub_(self.direction(gradient, kept).mul_(lr))

    def direction(self, gradient: torch.Tensor, kept: State) -> torch.Tensor:
        """m^ / (sqrt(v^) + eps) [A, P], a new tensor; the moments move on."""
        counts = kept["counts"].add_(1)
        first = kept["first"].mul_(self.beta1).add_(gradient, alpha=1 - self.beta1)
        second = kept["second"].mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        spread = (second / (1 - self.beta2**counts)).sqrt_().add_(self.epsilon)
        return (first / (1 - self.beta1**counts)).div_(spread)


@dataclass(frozen=True)
class Lars(Sgd):
    """LARS: SGD whose rate of each layer is scaled by trust ||x|| / (||g|| + wd ||x||).

    You, Gitman and Ginsburg, 2017. Layers of one dimension (biases, norms) take the rate as it is.
    """

    momentum: float = 0.9
    trust: float = 0.001

    name: ClassVar[str] = "lars"
    source: ClassVar[str] = "You, Gitman and Ginsburg, 2017"

    @property
    def plain(self) -> bool:
        """Never."""
        return False

    def step(self, x: torch.Tensor, gradient: torch.Tensor, lr: float, kept: State, layout: Layout) -> None:
        """Scale the gradient of each layer, then as SGD."""
        if self.weight_decay:
            gradient.add_(x, alpha=self.weight_decay)
        for part in layout.slices:
            if len(part.shape) > 1:
                own = gradient[:, part.start : part.stop]
                own.mul_(self.trust * ratio(x[:, part.start : part.stop], own))
        if self.momentum:
            gradient = kept["momentum"].mul_(self.momentum).add_(gradient)
        x.add_(gradient, alpha=-lr)


@dataclass(frozen=True)
class Lamb(AdamW):
    """LAMB: AdamW's direction plus decay, scaled in each layer by ||x|| / ||direction||. You et al., 2020."""

    epsilon: float = 1e-6

    name: ClassVar[str] = "lamb"
    source: ClassVar[str] = "You et al., 2020"

    def step(self, x: torch.Tensor, gradient: torch.Tensor, lr: float, kept: State, layout: Layout) -> None:
        """x <- x - lr (||x|| / ||r||) r with r = m^ / (sqrt(v^) + eps) + wd x, layer by layer."""
        direction = self.direction(gradient, kept)
        if self.weight_decay:
            direction.add_(x, alpha=self.weight_decay)
        for part in layout.slices:
            own, values = direction[:, part.start : part.stop], x[:, part.start : part.stop]
            values.sub_(own.mul_(lr * ratio(values, own)) if len(part.shape) > 1 else own.mul_(lr))


def ratio(x: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """||x|| / ||direction|| of each row [A, 1]; 1 where either is 0."""
    top, bottom = x.norm(dim=1, keepdim=True), direction.norm(dim=1, keepdim=True)
    return torch.where((top > 0) & (bottom > 0), top / bottom, torch.ones_like(top))
