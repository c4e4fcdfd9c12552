"""The objective of a model on samples: the loss of each agent's row on that agent's own mini-batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekit.decentralized.gradients.batched import BatchedGradients
from edgekit.decentralized.gradients.loop import LoopGradients, Loss, Rows
from edgekit.decentralized.gradients.stacked import StackedGradients, chain_of
from edgekit.decentralized.keys import key
from edgekit.decentralized.layout import Layout
from edgekit.decentralized.sampler import Sampler
from edgekit.decentralized.samples import Samples
from edgekit.errors import BadInput, did_you_mean

Gradients = LoopGradients | BatchedGradients | StackedGradients
PROBE_ROWS, PROBE_TIMES = 16, 3


class ModelObjective:
    """F_i(x) = mean loss of the model with weights x over the samples of agent i.

    samples: all training samples; sampler: which of them each agent draws; buffers {agent: row [Q]}: the running
    statistics of each agent's model, changed by its own passes; `gradients` names the way they are taken.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        samples: Samples,
        sampler: Sampler,
        *,
        gradients: str = "loop",
        seed: int = 0,
    ) -> None:
        self.samples, self.sampler, self.seed = samples, sampler, seed
        self.layout, self.buffer_layout = Layout.weights(model), Layout.buffers(model)
        self.buffers: dict[int, Rows] = {}
        self.gradients = make(gradients, model, loss)
        self._draws_numbers = draws_numbers(model)

    def weight(self, agent: int) -> float:
        """The samples that an agent has."""
        return float(self.sampler.samples(agent))

    def gradient(self, x: Rows, agents: Sequence[int], draws: Sequence[int], out: Rows) -> torch.Tensor:
        """Gradients [E, P] into out, losses [E]."""
        inputs, targets = self._batches(agents, draws)
        return self.gradients.gradient(x, inputs, targets, out, **self._options(agents, draws))

    def descend(
        self, x: Rows, onto: Rows, agents: Sequence[int], draws: Sequence[int], lr: float
    ) -> torch.Tensor:
        """onto <- onto - lr gradient, losses [E]."""
        inputs, targets = self._batches(agents, draws)
        return self.gradients.descend(x, onto, inputs, targets, lr, **self._options(agents, draws))

    def _batches(self, agents: Sequence[int], draws: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.samples.take(self.sampler.indices(agents, draws))

    def _options(self, agents: Sequence[int], draws: Sequence[int]) -> dict[str, Any]:
        seeds = None
        if self._draws_numbers:
            seeds = [key(self.seed, "dropout", *pair) for pair in zip(agents, draws, strict=True)]
        return {"buffers": [self.buffers.get(agent) for agent in agents], "seeds": seeds}


def make(name: str, model: nn.Module, loss: Loss) -> Gradients:
    """One way of taking gradients, by name; BadInput where the model does not allow it."""
    known = ways(model)
    if name not in ("loop", "vmap", "stacked"):
        raise BadInput(f"gradients: '{name}' is unknown. {did_you_mean(name, ('loop', 'vmap', 'stacked'))}")
    if name not in known:
        raise BadInput(
            f"gradients: {name} does not work on this model ({_why_not(name)}). Choose {' or '.join(known)}."
        )
    if name == "stacked":
        return StackedGradients(model, loss, chain_of(model) or ())
    return BatchedGradients(model, loss) if name == "vmap" else LoopGradients(model, loss)


def ways(model: nn.Module) -> tuple[str, ...]:
    """The ways that a model allows: loop always, vmap without buffers or dropout, stacked for perceptrons."""
    if list(model.buffers()) or draws_numbers(model):
        return ("loop",)
    return ("loop", "vmap", "stacked") if chain_of(model) is not None else ("loop", "vmap")


def draws_numbers(model: nn.Module) -> bool:
    """Whether a pass in training draws random numbers (dropout)."""
    return any(isinstance(part, nn.modules.dropout._DropoutNd) for part in model.modules())


def probe(
    model: nn.Module, loss: Loss, samples: Samples, batch: int, rows: int
) -> tuple[str, dict[str, float]]:
    """The fastest way here, and the seconds a row of each, on one batch of real samples."""
    count = min(rows, PROBE_ROWS)
    inputs, targets = samples.take(np.arange(count * batch).reshape(count, batch) % len(samples))
    start = Layout.weights(model).pack(dict(model.named_parameters())).detach()
    x = start.to(inputs.device).repeat(count, 1)
    seconds = {}
    for name in ways(model):
        try:
            seconds[name] = _time(make(name, model, loss), x, inputs, targets) / count
        except (RuntimeError, NotImplementedError):  # vmap has no rule for some operation of this model
            continue
    return min(seconds, key=lambda name: seconds[name]), seconds


def _time(gradients: Gradients, x: Rows, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    buffers: list[Rows | None] = [None] * len(x)
    found = []
    for _ in range(PROBE_TIMES + 1):
        start = time.process_time() if x.device.type == "cpu" else time.perf_counter()
        gradients.descend(x, x.clone(), inputs, targets, 0.0, buffers=buffers, seeds=[0] * len(x))
        if x.device.type == "cuda":
            torch.cuda.synchronize()
        found.append((time.process_time() if x.device.type == "cpu" else time.perf_counter()) - start)
    return min(found[1:])


def _why_not(name: str) -> str:
    return "it is no chain of linear layers" if name == "stacked" else "it has buffers or dropout"
