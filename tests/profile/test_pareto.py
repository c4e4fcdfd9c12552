"""The front: no member is beaten, and whoever is not on it is beaten by a member."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from edgekit.profile import item, pareto, sensors
from edgekit.profile.pareto import front, fronts
from edgekit.profile.statistics import Interval


def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def intervals(point: tuple[float, ...], margin: float) -> tuple[Interval, ...]:
    return tuple(Interval(value, value - margin, value + margin) for value in point)


POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_is_what_nobody_beats(points):
    found = front([intervals(point, 0.0) for point in points])
    assert found
    for place, point in enumerate(points):
        by_members = any(beats(points[member], point) for member in found)
        assert (place in found) != by_members


@given(POINTS)
def test_noise_only_widens_the_front(points):
    exact, noisy = (set(front([intervals(point, margin) for point in points])) for margin in (0.0, 0.7))
    assert exact <= noisy
    assert set(front([intervals(point, 10.0) for point in points])) == set(range(len(points)))


def seen(name: str, ms: float | None, accuracy: float | None, size: int, mj: float | None = None) -> dict:
    metric = {"name": "accuracy", "value": accuracy, "higher_is_better": True}
    return {
        "name": name,
        "latency_ms": None if ms is None else {"p50": ms},
        "metric": None if accuracy is None else metric,
        "bytes": size,
        "energy": None if mj is None else {"joules_per_inference": mj, "ci95": [0.9 * mj, 1.1 * mj]},
    }


def test_a_higher_metric_is_better_and_unknown_files_are_left_out():
    files = [
        seen("a", 2.0, 0.9, 10),
        seen("b", 1.0, 0.8, 5),
        seen("c", 3.0, 0.85, 20),
        seen("d", 0.5, None, 1),
    ]
    found = {(row["x"], row["y"]): row for row in fronts(files)}
    assert found["latency_ms", "metric"] == {
        "x": "latency_ms",
        "y": "metric",
        "files": ["a", "b", "c"],
        "front": ["a", "b"],
    }
    assert found["latency_ms", "bytes"]["front"] == ["d"]
    assert ("energy", "metric") not in found
    assert fronts(files[:1]) == []


def test_what_lies_within_the_noise_beats_nothing():
    near = [seen("a", 1.0, 0.9, 10, 1.0), seen("b", 1.01, 0.9, 10, 1.1), seen("c", 1.1, 0.9, 10, 1.5)]
    found = {(row["x"], row["y"]): row["front"] for row in fronts(near)}
    assert found["latency_ms", "metric"] == found["energy", "metric"] == ["a", "b"]
    assert found["bytes", "metric"] == ["a", "b", "c"]


def test_documented_examples_hold():
    for module in (pareto, item, sensors):
        assert doctest.testmod(module).failed == 0
        assert doctest.testmod(module).attempted
