"""The contract of an algorithm, and the guide for whoever writes one.

An algorithm is a frozen dataclass in a file of its own; its fields are what a run file says: `ngc: {alpha: 1}`. Its
state is a dict of rows [A, P] (A agents that live in this process: all in the simulator, one on a device), `x` the
models. It does row algebra and yields exchanges (exchange.py), and never sees a peer, so that the simulator and the
devices run the same lines:

    class LocalAverage(Algorithm):
        def round(self, state, context):
            x = context.local(state["x"])                # the run's optimizer on each agent's next batches
            state["x"] = (yield Mix((x,))).pull(x)       # x_i <- sum_j W_ij x_j

- What a reply holds is lent until the round ends, unless it is put into the state.
- Make tensors only like those you were given (dtype, device); never write into rows that were sent.
- `start` fills what the state needs beside `x`; it is called again whenever agents joined or left.
- Declare what must hold, so that a run that cannot work is refused before it starts: `mixing`, `static_graph`,
  `groups`, `optimizer`, `local_steps`, `buffers`, `codecs`; and what a round costs: `vectors` rows to every neighbour,
  `grouped` rows averaged within a group, `gradients`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from edgekit.decentralized.exchange import Steps

if TYPE_CHECKING:
    from edgekit.decentralized.context import Context

State = dict[str, torch.Tensor]
Matrix = Literal["none", "row", "doubly", "symmetric", "column"]


class Declared:
    """What an algorithm declares of itself, the same for synchronous and asynchronous ones."""

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""  # author, year
    mixing: ClassVar[Matrix] = "doubly"  # what W must be
    smallest_eigenvalue: ClassVar[float] = -1.0  # every eigenvalue of W must lie above it
    static_graph: ClassVar[bool] = False  # the graph must be the same in every round
    groups: ClassVar[bool] = False  # needs a topology with groups
    public: ClassVar[bool] = False  # publishes: neighbours hold copies of what they saw of its model
    optimizer: ClassVar[Literal["any", "plain", "own"]] = (
        "any"  # plain: SGD without momentum; own: brings one
    )
    local_steps: ClassVar[bool] = True  # may take several batches between two exchanges
    buffers: ClassVar[bool] = True  # works on models that keep running statistics
    keeps_mean: ClassVar[bool] = True  # exchanges leave the mean of the models where the gradients moved it
    codecs: ClassVar[Literal["any", "unbiased"]] = "any"
    vectors: ClassVar[float] = 1.0  # rows sent to every neighbour (or partner) in a round, before the codec
    grouped: ClassVar[float] = 0.0  # rows averaged within a group in a round
    gradients: ClassVar[str] = "1"  # in a round and local step; d is the degree

    def start(self, x: torch.Tensor, context: Context) -> State:
        """The state before the first round, from the models x [A, P]."""
        return {"x": x}

    def output(self, state: State) -> torch.Tensor:
        """The models [A, P] that are used and evaluated."""
        return state["x"]


class Algorithm(Declared):
    """Base of all synchronous algorithms."""

    def round(self, state: State, context: Context) -> Steps:
        """One round: change `state`, yield exchanges."""
        raise NotImplementedError


class AsyncAlgorithm(Declared):
    """Base of all asynchronous algorithms: agents train at their own pace and average in pairs.

    The engine calls, in the order of time: `local` when an agent has finished its work, which began from the model
    `seen`; then the agent and one neighbour exchange models, and each calls `merge` when the other's arrives.
    """

    mixing: ClassVar[Matrix] = "none"

    def local(self, state: State, row: int, seen: torch.Tensor, context: Context) -> None:
        """The work of one agent, `context` being its own: changes row `row`; seen [1, P] is where the work began."""
        raise NotImplementedError

    def merge(self, state: State, row: int, incoming: torch.Tensor, own: torch.Tensor) -> None:
        """Take in what was seen of the partner's model, `incoming` [P]; the partner saw `own` [P] of this one."""
        raise NotImplementedError
