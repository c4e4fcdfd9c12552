"""NGC: gradients of the neighbours' models and on the neighbours' data, averaged like the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.codecs.codec import Codec
from edgekit.codecs.error_feedback import ErrorFeedback
from edgekit.codecs.scaled_sign import ScaledSign
from edgekit.decentralized.algorithm import Algorithm, Matrix, State
from edgekit.decentralized.context import Context
from edgekit.decentralized.exchange import Edges, Reply, Steps
from edgekit.errors import BadInput


@dataclass(frozen=True)
class NGC(Algorithm):
    """x_i <- x_i + gamma sum_j W_ij (x_j - x_i), then a step along (1 - alpha) M_i + alpha D_i.

    M_i = sum_j W_ij grad F_i(x_j): the neighbours' models on my data, which costs no further message; D_i = sum_j W_ij
    grad F_j(x_i): my model on the neighbours' data, which they send back. The own gradient, at the mixed model, stands
    on the diagonal of both. On a complete graph of equal models alpha = 1 is centralized SGD.
    """

    alpha: float = 1.0
    gamma: float = 1.0

    name: ClassVar[str] = "ngc"
    source: ClassVar[str] = "Aketi, Kodge and Roy, 2022"
    mixing: ClassVar[Matrix] = "symmetric"
    local_steps: ClassVar[bool] = False
    buffers: ClassVar[bool] = False
    gradients: ClassVar[str] = "1 + d"
    cross_codec: ClassVar[Codec | None] = None  # of the gradients sent back; the run's own where None

    def __post_init__(self) -> None:
        for name in ("alpha", "gamma"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{self.name}: {name} is {getattr(self, name):g}. Give a number from 0 to 1.")

    @property
    def vectors(self) -> float:  # type: ignore[override]
        """The models, and where alpha > 0 the gradients back."""
        return 2.0 if self.alpha else 1.0

    def round(self, state: State, context: Context) -> Steps:
        """Models to the neighbours, gradients back."""
        x = state["x"]
        heard = yield Edges((x,))
        cross = context.gradient(heard.value, on=heard.target)
        mixed = heard.pull(x, self.gamma)
        own = context.gradient(mixed)
        along = heard.gather(cross, own=own).mul_(1 - self.alpha)
        if self.alpha:
            back = yield Reply(cross, heard, slot="cross", codec=self.cross_codec)
            along.add_(heard.gather(back, own=own), alpha=self.alpha)
        state["x"] = context.step(mixed, along)


@dataclass(frozen=True)
class CompNGC(NGC):
    """NGC whose gradients travel back as scaled signs with error feedback for each neighbour: 1 bit a value.

    The own gradient, which is not sent, stays as it is.
    """

    name: ClassVar[str] = "comp-ngc"
    source: ClassVar[str] = "Aketi, Kodge and Roy, 2022"
    cross_codec: ClassVar[Codec | None] = ErrorFeedback(ScaledSign())

    @property
    def vectors(self) -> float:  # type: ignore[override]
        """The models, and a 32nd of that for the gradients."""
        return 1.0 + 1.0 / 32 if self.alpha else 1.0
