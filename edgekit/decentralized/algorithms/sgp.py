"""SGP: stochastic gradient push, D-PSGD over directed graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps


@dataclass(frozen=True)
class SGP(Algorithm):
    """u' = C (u - lr g(z)); w' = C w; z' = u' / w', C column-stochastic: sum u and sum w = n are kept.

    The model z is exact on any strongly connected digraph, where averaging with rows that sum to 1 is biased.
    """

    name: ClassVar[str] = "sgp"
    source: ClassVar[str] = "Kempe, Dobra and Gehrke, 2003; Assran et al., 2019"
    mixing: ClassVar[Matrix] = "column"
    keeps_mean: ClassVar[bool] = False  # the mean of u is kept; that of z = u / w only once the weights agree

    def start(self, x: torch.Tensor, context: Context) -> State:
        """Weights 1."""
        return {"x": x, "u": x.clone(), "w": x.new_ones(len(x), 1)}

    def round(self, state: State, context: Context) -> Steps:
        """One exchange of a row and a weight."""
        u, w = context.local(state["x"], onto=state["u"]), state["w"]
        reply = yield Mix((u, w))
        state["u"], state["w"] = reply.pull(u), reply.pull(w, at=1)
        state["x"] = state["u"] / state["w"]
