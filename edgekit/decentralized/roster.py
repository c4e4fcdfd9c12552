"""The roster: who takes part, and the facts of each that topologies may use."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Roster:
    """The agents in a run, in the order of their rows.

    ids: the number of each agent, which stays its own when others leave; histograms [n, classes]: how many samples
    of each class an agent holds; proxies [n, k]: what stands for an agent's data where histograms may not leave it;
    speeds [n]: relative to the fastest, 1.0.
    """

    ids: tuple[int, ...]
    histograms: Floats | None = field(default=None, compare=False)
    proxies: Floats | None = field(default=None, compare=False)
    speeds: Floats | None = field(default=None, compare=False)

    @classmethod
    def of(cls, count: int) -> Roster:
        """Agents 0 .. count - 1 without facts."""
        return cls(tuple(range(count)))

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, gone: frozenset[int]) -> Roster:
        """The roster after agents have left."""
        keep = [position for position, agent in enumerate(self.ids) if agent not in gone]
        pick = lambda facts: None if facts is None else facts[keep]  # noqa: E731
        return Roster(
            tuple(self.ids[position] for position in keep),
            pick(self.histograms),
            pick(self.proxies),
            pick(self.speeds),
        )
