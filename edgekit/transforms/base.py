"""The contract of a transform, and the guide for whoever writes one.

A transform is a frozen dataclass in a file of its own. Its fields are the recipe step:
`Prune(ratio=0.4)` is `- prune: {ratio: 0.4}`. Its one method is `apply(model, job) -> (model, Change)`.

- It may change the model in place: the pipeline hands it a copy of its own.
- It never owns the training loop. It swaps modules, attaches hooks, adds loss terms to `Hooks`, and calls
  `job.train(model, hooks)`; the user's loop may be behind that.
- `Change.plan` replays the step on a fresh model through `replay(model, plan)`; weights are loaded after all
  replays. A step that changes only weights has plan None.
- A structural transform that finds nothing to do raises BadInput, unless its field `optional` is true.
- It is run first on one batch (the dry run): keep checks ahead of expensive work.
- Randomness comes from `job.generator(purpose)`, never from a global stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from edgekit.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

    from edgekit.change import Change
    from edgekit.job import Job


class Transform:
    """Base of all transforms: declares what the pipeline needs to know before it runs anything."""

    name: ClassVar[str] = ""
    trains: ClassVar[bool] = False  # needs labelled training data and a torch model
    needs_torch: ClassVar[bool] = True  # cannot work on an ONNX file
    reads_caps: ClassVar[bool] = False  # its result depends on the board
    final: ClassVar[bool] = False  # no step may follow it

    def apply(self, model: Any, job: Job) -> tuple[Any, Change]:
        """Change the model; return it with the record of what changed."""
        raise NotImplementedError

    @staticmethod
    def replay(model: nn.Module, plan: dict[str, Any]) -> nn.Module:
        """Make the structural change that `plan` records on a fresh model (weights are loaded afterwards)."""
        return model

    def candidates(self) -> Mapping[str, Transform]:
        """{name: step} of the forms that the board's own tools choose between, best first; empty where none is open."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The recipe step as plain JSON."""
        return asdict(self)  # type: ignore[call-overload]


def check_epochs(epochs: int, where: str) -> None:
    """Raise BadInput for a number of epochs that trains nothing."""
    if epochs < 1:
        raise BadInput(f"{where}: epochs is {epochs}. Give at least 1, or drop the step.")
