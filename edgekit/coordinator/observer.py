"""All models in one place, where a run says `observe: true`: their mean's metric, and how far they are apart.

Agents send their model at each evaluation, beside the run and counted apart from it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import numpy as np
import torch

from edgekit.codecs.codec import BadPayload, Payload, RowSpec
from edgekit.decentralized.coding import RAW, as_array, join, split

ROUNDS: Final = 4  # whose models are kept until all have come
_NO_RANDOM: Any = np.random.default_rng(0)  # a raw row is not drawn


def report_of(row: torch.Tensor, buffers: torch.Tensor | None) -> bytes:
    """A model [P] and its running statistics as they travel."""
    parts = [row] if buffers is None else [row, buffers]
    return join([RAW.encode(as_array(part), _spec(part), _NO_RANDOM) for part in parts])


class Observer:
    """Gathers the models of the agents, round by round.

    evaluator, row and buffers are of the run as it was assembled here: their shapes are those that must come.
    """

    def __init__(self, evaluator: Any, row: torch.Tensor, buffers: torch.Tensor | None) -> None:
        self.evaluator = evaluator
        self._like = [row] if buffers is None else [row, buffers]
        self._rounds: OrderedDict[int, dict[int, list[torch.Tensor]]] = OrderedDict()
        self.longest = sum(part.nbytes for part in self._like) + 64

    def take(self, round: int, number: int, payload: Payload) -> None:
        """The model of an agent after a round; what makes no sense is dropped."""
        specs = [_spec(part) for part in self._like]
        try:
            parts = split(payload, [RAW.size(spec) for spec in specs])
            rows = [torch.from_numpy(RAW.decode(part, spec)) for part, spec in zip(parts, specs, strict=True)]
        except BadPayload:
            return
        self._rounds.setdefault(round, {})[number] = rows
        while len(self._rounds) > ROUNDS:
            self._rounds.popitem(last=False)

    def seen(self, round: int, numbers: set[int]) -> tuple[float, float] | None:
        """(metric of the mean model, (1/n) sum |x_i - mean|^2) where all these agents' models are here."""
        there = self._rounds.get(round, {})
        if not numbers or not numbers <= set(there):
            return None
        rows = [there[number] for number in sorted(numbers)]
        models = torch.stack([row[0] for row in rows]).to(self._like[0])
        buffers = torch.stack([row[1] for row in rows]).mean(0) if len(self._like) > 1 else None
        apart = float((models - models.mean(0)).double().square().sum()) / len(models)
        return self.evaluator.score(models.mean(0), buffers).metric, apart


def _spec(part: torch.Tensor) -> RowSpec:
    return RowSpec(part.numel(), str(part.dtype).removeprefix("torch."))
