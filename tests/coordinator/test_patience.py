"""How long a neighbour is waited for: its usual time and a margin, within the limits."""

from __future__ import annotations

from statistics import median_low as median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.coordinator.patience import NORMAL, REMEMBERED, Deadlines, Patience
from edgekit.errors import BadInput
from tests.coordinator.papers import FEW

SECONDS = st.floats(0, 100, allow_nan=False)


def test_before_it_was_ever_heard_it_is_waited_for_as_long_as_can_be():
    patience = Patience(Deadlines(least=1.0, most=60.0))
    assert patience.usual("cam-1") is None
    assert patience.of("cam-1") == 60.0


def test_a_steady_neighbour_has_the_least_or_its_own_time():
    patience = Patience(Deadlines(least=1.0, most=60.0))
    for _ in range(5):
        patience.arrived("fast", 0.1)
        patience.arrived("slow", 7.0)
        patience.arrived("hopeless", 100.0)
    assert patience.of("fast") == 1.0
    assert patience.of("slow") == 7.0
    assert patience.of("hopeless") == 60.0


@FEW
@given(st.lists(SECONDS, min_size=1, max_size=40), st.floats(0, 10))
def test_the_deadline_is_the_median_and_k_deviations(times, k):
    patience = Patience(Deadlines(k=k, least=1.0, most=60.0))
    counted, new = 0, 0  # arrivals that the deadline is of, and those since
    for number, time in enumerate(times, 1):
        patience.arrived("cam-1", time)
        new += 1
        if 4 * new >= min(number, REMEMBERED):
            counted, new = number, 0
        patience.usual("cam-1")  # what is kept of it must not outlive a quarter of what is remembered
    last = times[:counted][-REMEMBERED:]
    spread = NORMAL * median(abs(time - median(last)) for time in last)
    assert patience.usual("cam-1") == pytest.approx(median(last) + k * spread)
    assert patience.of("cam-1") == pytest.approx(min(max(median(last) + k * spread, 1.0), 60.0))


def test_old_arrivals_are_forgotten():
    patience = Patience(Deadlines())
    for _ in range(REMEMBERED):
        patience.arrived("cam-1", 30.0)
    for _ in range(REMEMBERED):
        patience.arrived("cam-1", 2.0)
    assert patience.of("cam-1") == 2.0


def test_one_hiccup_changes_nothing():
    patience = Patience(Deadlines(least=0.1))
    for time in (0.5, 0.5, 0.5, 50.0, 0.5):
        patience.arrived("cam-1", time)
    assert patience.of("cam-1") == 0.5


def test_what_came_before_its_phase_began_was_there_at_once():
    patience = Patience(Deadlines(least=0.1))
    patience.arrived("cam-1", -3.0)
    assert patience.usual("cam-1") == 0.0


@pytest.mark.parametrize(
    "values",
    [{"least": 0.0}, {"least": 2.0, "most": 1.0}, {"k": -1.0}, {"quorum": -0.1}, {"quorum": 1.1}],
)
def test_deadlines_that_mean_nothing_are_refused(values):
    with pytest.raises(BadInput, match=r"deadline: .* Give "):
        Deadlines(**values)
