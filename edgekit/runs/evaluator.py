"""Evaluation of the agents' models on the test samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgekit.decentralized.gradients.loop import LoopGradients, Loss
from edgekit.decentralized.keys import stream
from edgekit.runs.line import Spread

CHUNK = 1000  # test samples a pass


@dataclass(frozen=True)
class Evaluated:
    """What the test samples say of some models, and of their mean."""

    agents: Spread
    mean_model: float
    local: float | None
    loss: float


@dataclass(frozen=True)
class Scored:
    """What the test samples say of one model; local: weighted as the labels of its agent are."""

    metric: float
    local: float | None
    loss: float


class Evaluator:
    """Runs rows of weights through one model in evaluation mode.

    metric(outputs, targets) -> a score a sample, or one number; histograms [n, classes]: the labels that each agent
    holds, for the local metric; `agents` and `samples` limit who is evaluated on what, the same at every line.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        metric: Callable[[npt.NDArray[np.floating], npt.NDArray[np.generic]], object],
        x: torch.Tensor,
        y: torch.Tensor,
        *,
        histograms: npt.NDArray[np.floating] | None = None,
        agents: int | None = None,
        samples: int | None = None,
        seed: int = 0,
    ) -> None:
        self._model, self._loss, self._metric = LoopGradients(model, loss), loss, metric
        if samples is not None and samples < len(x):
            index = torch.from_numpy(stream(seed, "test samples").permutation(len(x))[:samples])
            x, y = x[index], y[index]
        self.x, self.y, self._histograms = x, y, histograms
        self._agents, self._seed = agents, seed
        self.name = str(getattr(metric, "__name__", type(metric).__name__))

    def evaluate(
        self, rows: torch.Tensor, buffers: torch.Tensor | None, positions: npt.NDArray[np.int64]
    ) -> Evaluated:
        """Of rows [n, P] with buffers [n, Q], those of the agents at `positions`, and the mean of all."""
        scores, losses = [], []
        for position in positions:
            one = self._one(rows[position], None if buffers is None else buffers[position])
            scores.append(one[0])
            losses.append(one[1])
        mean, _ = self._one(rows.mean(0), None if buffers is None else buffers.mean(0))
        values = np.array([np.mean(score) for score in scores])
        spread = Spread(float(values.mean()), float(values.min()), float(values.max()), float(values.std()))
        return Evaluated(spread, float(np.mean(mean)), self._local(scores, positions), float(np.mean(losses)))

    def score(self, row: torch.Tensor, buffers: torch.Tensor | None) -> Scored:
        """Of the model of one agent [P] with its buffers [Q]; its labels are the first that are known."""
        score, loss = self._one(row, buffers)
        return Scored(float(np.mean(score)), self._local([score], np.array([0])), loss)

    def chosen(self, count: int) -> npt.NDArray[np.int64]:
        """The positions of the agents that are evaluated: all, or as many as were asked for."""
        if self._agents is None or self._agents >= count:
            return np.arange(count)
        return np.sort(stream(self._seed, "evaluated").permutation(count)[: self._agents])

    def _one(self, row: torch.Tensor, buffers: torch.Tensor | None) -> tuple[npt.NDArray[np.float64], float]:
        """(a score a sample, or one; the mean loss) of one model."""
        self._model.point(row, buffers)
        model = self._model.model.eval()
        with torch.inference_mode():
            outputs = torch.cat([model(part) for part in self.x.split(CHUNK)])
            loss = float(self._loss(outputs, self.y))
        model.train()
        score = self._metric(outputs.cpu().numpy(), self.y.cpu().numpy())
        return np.atleast_1d(np.asarray(score, np.float64)), loss

    def _local(self, scores: list[npt.NDArray[np.float64]], positions: npt.NDArray[np.int64]) -> float | None:
        """Mean over agents of sum_c p_i(c) score_i(c), p_i the agent's own labels."""
        targets = self.y.cpu().numpy()
        if self._histograms is None or len(scores[0]) != len(targets):
            return None
        members = [targets == label for label in range(self._histograms.shape[1])]
        local = []
        for score, position in zip(scores, positions, strict=True):
            share = self._histograms[position] / max(self._histograms[position].sum(), 1)
            held = [
                (part, member) for part, member in zip(share, members, strict=True) if part and member.any()
            ]
            local.append(sum(part * score[member].mean() for part, member in held))
        return float(np.mean(local))
