"""CHOCO-SGD: gossip on public copies that compressed differences bring nearer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Publish, Steps
from edgekit.errors import BadInput


@dataclass(frozen=True)
class Choco(Algorithm):
    """q_i = C(x_i - x^_i); x^_i += q_i at every holder; x_i += gamma sum_j W_ij (x^_j - x^_i).

    Converges for any contraction C if gamma is small enough: about the part of the values that C keeps.
    """

    gamma: float = 0.1

    name: ClassVar[str] = "choco"
    source: ClassVar[str] = "Koloskova, Stich and Jaggi, 2019"
    static_graph: ClassVar[bool] = True
    public: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise BadInput(f"choco: gamma is {self.gamma:g}. Give a number above 0 and up to 1.")

    def round(self, state: State, context: Context) -> Steps:
        """Local steps, then one compressed difference."""
        x = context.local(state["x"])
        state["x"] = (yield Publish((x,))).pull(x, self.gamma)
