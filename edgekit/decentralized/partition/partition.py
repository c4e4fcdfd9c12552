"""The contract of a partition, and the guide for whoever writes one.

A partition is a frozen dataclass in a file of its own; its fields are what a run file says: `Dirichlet(alpha=0.1)` is
`partition: {dirichlet: {alpha: 0.1}}`, and a lone value sets the first field: `partition: {dirichlet: 0.1}`.

- `divide` gives each agent the indices of its samples: int64, ascending, no index twice, and no agent without any.
  `labels.required` and `labels.samples` check what it is given; `shares` has the ways of dealing samples out.
- Every agent computes all shares for itself, so take randomness from `self.chance(seed)` only.
- `complete` promises that every sample has an owner; without it the docstring says which have none.
- `by_label` says that labels are needed; `drawn` that another seed gives other shares.
- Raise BadInput, in one line, where the samples cannot be divided so: what, why, and which number would do.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgekit.decentralized.graph import Ints
from edgekit.decentralized.keys import stream

Column = npt.NDArray[Any] | None  # one value a sample, or None where they have none
Shares = list[Ints]


class Partition:
    """Base of all partitions."""

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""  # author, year
    complete: ClassVar[bool] = True
    by_label: ClassVar[bool] = False
    drawn: ClassVar[bool] = True

    def divide(self, labels: Column, agents: int, seed: int, groups: Column = None) -> Shares:
        """The sample indices of each agent, from the class [n] and, where there is one, the owner [n] of each sample.

        Raises BadInput where the samples cannot be divided so.
        """
        raise NotImplementedError

    def chance(self, seed: int) -> np.random.Generator:
        """The random numbers of this partition under a seed."""
        return stream(seed, "partition", self.name)
