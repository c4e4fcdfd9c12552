"""Numbers of agents near one that cannot form a topology, for its message."""

from __future__ import annotations

from collections.abc import Callable

REACH = 10_000  # numbers that are tried upwards


def nearest(agents: int, fits: Callable[[int], bool]) -> str:
    """The nearest numbers of agents that fit, as words.

    >>> nearest(12, lambda agents: agents & (agents - 1) == 0)
    '8 or 16'
    """
    below = next((count for count in range(agents - 1, 0, -1) if fits(count)), None)
    above = next((count for count in range(agents + 1, agents + REACH) if fits(count)), None)
    return " or ".join(str(count) for count in (below, above) if count is not None) or "another number"
