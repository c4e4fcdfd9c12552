"""Which of several files no other beats: the front of a cost against a metric, or of two costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edgekit.profile.statistics import Interval

NEAR: Final = 0.01  # either side of a latency: what two measurements of one file easily differ by


def _latency(seen: Mapping[str, Any]) -> Interval | None:
    if seen["latency_ms"] is None:
        return None
    value = seen["latency_ms"]["p50"]
    return Interval(value, value * (1 - NEAR), value * (1 + NEAR))


def _energy(seen: Mapping[str, Any]) -> Interval | None:
    if seen["energy"] is None:
        return None
    value = seen["energy"]["joules_per_inference"]
    return Interval(value, *(seen["energy"]["ci95"] or (value, value)))


def _size(seen: Mapping[str, Any]) -> Interval | None:
    return None if seen["bytes"] is None else _exact(seen["bytes"])


def _loss(seen: Mapping[str, Any]) -> Interval | None:
    """The metric, turned so that less is better; files are compared on the same samples, so it counts as exact."""
    metric = seen["metric"]
    return None if metric is None else _exact(metric["value"] * (-1 if metric["higher_is_better"] else 1))


def _exact(value: float) -> Interval:
    return Interval(value, value, value)


AXES: Final[dict[str, Callable[[Mapping[str, Any]], Interval | None]]] = {
    "latency_ms": _latency,
    "energy": _energy,
    "bytes": _size,
    "metric": _loss,
}
PAIRS: Final = (
    ("latency_ms", "metric"),
    ("energy", "metric"),
    ("bytes", "metric"),
    ("latency_ms", "energy"),
    ("latency_ms", "bytes"),
)


def front(points: Sequence[tuple[Interval, ...]]) -> list[int]:
    """The places of the points that no other point beats; less is better in every coordinate (Pareto, 1906).

    a beats b where no value of a is more and somewhere the whole interval of a lies below that of b: what could
    be noise beats nothing.

    >>> at = lambda value, margin=0: Interval(value, value - margin, value + margin)
    >>> front([(at(1), at(5)), (at(2), at(3)), (at(3), at(4)), (at(2), at(3))])
    [0, 1, 3]
    >>> front([(at(1, 0.5), at(5)), (at(2, 0.5), at(5)), (at(3, 0.5), at(5))])
    [0, 1]
    """
    return [place for place, point in enumerate(points) if not any(_beats(other, point) for other in points)]


def _beats(one: tuple[Interval, ...], other: tuple[Interval, ...]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a.value <= b.value for a, b in pairs) and any(a.high < b.low for a, b in pairs)


def fronts(files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """[{"x", "y", "files" (compared), "front"}] by name, for every pair of axes that two files or more have."""
    found = []
    for x, y in PAIRS:
        known = [
            (seen["name"], (a, b))
            for seen in files
            if (a := AXES[x](seen)) is not None and (b := AXES[y](seen)) is not None
        ]
        if len(known) > 1:
            best = front([place for _, place in known])
            found.append(
                {
                    "x": x,
                    "y": y,
                    "files": [name for name, _ in known],
                    "front": [known[place][0] for place in best],
                }
            )
    return found
