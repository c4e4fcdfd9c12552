"""Exact Diffusion: adapt, correct, combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps


@dataclass(frozen=True)
class ExactDiffusion(Algorithm):
    """psi' = x - lr g; x' = (I + W)/2 (psi' + x - psi), psi = x at first: exact, for any symmetric W."""

    name: ClassVar[str] = "exact-diffusion"
    source: ClassVar[str] = "Yuan, Ying, Zhao and Sayed, 2019"
    mixing: ClassVar[Matrix] = "symmetric"
    static_graph: ClassVar[bool] = True
    optimizer: ClassVar[Literal["any", "plain", "own"]] = "plain"
    local_steps: ClassVar[bool] = False

    def start(self, x: torch.Tensor, context: Context) -> State:
        """psi = x."""
        return {"x": x, "psi": x.clone()}

    def round(self, state: State, context: Context) -> Steps:
        """One exchange of the corrected models."""
        x = state["x"]
        psi = context.gradient(x).mul_(-context.lr).add_(x)
        corrected = torch.add(psi, x).sub_(state["psi"])
        mixed = (yield Mix((corrected,))).pull(corrected)
        state["psi"], state["x"] = psi, torch.add(mixed, corrected).mul_(0.5)
