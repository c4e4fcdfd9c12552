"""How long to wait for a neighbour: as long as it usually takes, and a margin."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from edgekit.errors import BadInput

REMEMBERED = 20  # arrivals of each neighbour
NORMAL = 1.4826  # MAD to standard deviation, of a normal distribution


@dataclass(frozen=True)
class Deadlines:
    """How long a phase waits for its neighbours.

    A neighbour's deadline is median + k 1.4826 MAD of its last 20 arrivals, found anew once a quarter of them are new,
    at least `least` and at most `most` seconds after the phase began; before it was ever heard, `most`. With less than
    `quorum` of the neighbours there, a phase waits to `most`.
    """

    k: float = 4.0
    least: float = 1.0
    most: float = 60.0
    quorum: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most:
            raise BadInput(
                f"deadline: least is {self.least:g} s and most {self.most:g} s. Give 0 < least <= most."
            )
        if self.k < 0 or not 0 <= self.quorum <= 1:
            raise BadInput(
                f"deadline: k is {self.k:g} and quorum {self.quorum:g}. Give k >= 0, 0 <= quorum <= 1."
            )


class Patience:
    """What is known of the neighbours' arrivals."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self._arrivals: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._usual: dict[str, float] = {}
        self._new: dict[str, int] = {}  # arrivals that it does not count yet

    def arrived(self, neighbour: str, seconds: float) -> None:
        """A message came so long after its phase began here; before it began is at once."""
        times = self._arrivals[neighbour]
        times.append(max(0.0, seconds))
        new = self._new[neighbour] = self._new.get(neighbour, 0) + 1
        if 4 * new >= len(times):
            self._usual.pop(neighbour, None)

    def usual(self, neighbour: str) -> float | None:
        """median + k 1.4826 MAD, s; None before the first arrival."""
        known = self._usual.get(neighbour)
        if known is None and self._arrivals[neighbour]:
            times, self._new[neighbour] = self._arrivals[neighbour], 0
            middle = _median(times)
            spread = NORMAL * _median([abs(time - middle) for time in times])
            known = self._usual[neighbour] = middle + self.deadlines.k * spread
        return known

    def of(self, neighbour: str) -> float:
        """Seconds from the start of a phase to the neighbour's deadline."""
        usual, limits = self.usual(neighbour), self.deadlines
        return limits.most if usual is None else min(max(usual, limits.least), limits.most)


def _median(values: Iterable[float]) -> float:
    """The lower of the middle two where their number is even: this is on the way of every round."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]
