"""D-PSGD: average with the neighbours, and step against the own gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Steps


@dataclass(frozen=True)
class DPSGD(Algorithm):
    """x_i <- sum_j W_ij x_j - lr g_i(x_i) (order: parallel), or sum_j W_ij (x_j - lr g_j) (adapt-then-combine).

    In parallel order the gradient is taken at the own model before mixing, so that computing and sending overlap;
    with full gradients of 1/2 |x - b_i|^2 it stops at (I - W + lr I) x = lr b. `combine-then-adapt` takes the gradient
    at the mixed model.
    """

    order: Literal["parallel", "adapt-then-combine", "combine-then-adapt"] = "parallel"

    name: ClassVar[str] = "d-psgd"
    source: ClassVar[str] = "Lian et al., 2017"

    def round(self, state: State, context: Context) -> Steps:
        """One exchange of the models."""
        x = state["x"]
        if self.order == "adapt-then-combine":
            x = context.local(x)
        mixed = (yield Mix((x,))).pull(x)
        if self.order == "parallel":
            mixed = context.local(x, onto=mixed)
        elif self.order == "combine-then-adapt":
            mixed = context.local(mixed)
        state["x"] = mixed
