"""DCD-PSGD: D-PSGD on replicas that compressed differences keep equal everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.decentralized.algorithm import Algorithm, State
from edgekit.decentralized.coding import RAW
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Mix, Publish, Steps


@dataclass(frozen=True)
class DCD(Algorithm):
    """z_i = sum_j W_ij x^_j - lr g_i(x^_i); x^_i += C(z_i - x^_i) at every holder; x_i = x^_i.

    Every holder's replica of a model is the same bits as the model. Needs a codec that loses little (8 or 4 bits):
    unlike CHOCO it has no gamma that a coarse one could be damped by.
    """

    name: ClassVar[str] = "dcd-psgd"
    source: ClassVar[str] = "Tang, Gan, Zhang, Zhang and Liu, 2018"
    static_graph: ClassVar[bool] = True
    public: ClassVar[bool] = True
    keeps_mean: ClassVar[bool] = False  # what the codec loses stays in the models

    def round(self, state: State, context: Context) -> Steps:
        """The step onto the mixed replicas, then one compressed difference."""
        if "mixed" not in state:  # first of all, what the neighbours start from
            state["mixed"] = (yield Mix((state["x"],), codec=RAW)).sum
        ahead = context.local(state["x"], onto=state["mixed"])
        reply = yield Publish((ahead,))
        state["x"], state["mixed"] = reply.own[0].clone(), reply.sum
