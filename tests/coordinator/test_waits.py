"""The wait of a phase, on a clock that the test moves."""

from __future__ import annotations

import pytest

from edgekit.coordinator import waits as module
from edgekit.coordinator.patience import Deadlines, Patience
from edgekit.coordinator.waits import ASK_AFTER, FIRST_ASK, POLL, Waits

NAMES = ("a", "b", "c", "d")


class Clock:
    """Seconds that pass when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "monotonic", made)
    return made


def known(**times: float) -> Patience:
    """That of neighbours whose times are steady."""
    patience = Patience(Deadlines(k=4.0, least=1.0, most=10.0, quorum=0.5))
    for name, time in times.items():
        for _ in range(5):
            patience.arrived(name, time)
    return patience


def waits(patience: Patience, expected=(0, 1, 2), *, here=lambda sender: True, whole=False) -> Waits:
    return Waits(expected, NAMES, patience, here, whole=whole)


def pass_all(wait: Waits, clock: Clock, there, *, up: bool = True) -> float:
    """How long it waits for, with no more than the seconds it asks for at a time."""
    began = clock.now
    for _ in range(10_000):
        left = wait.left(there, up)
        if left is None:
            return clock.now - began
        assert 0 <= left <= POLL
        clock.now += max(left, 1e-3)
        wait.to_ask(there, up)
    raise AssertionError("it never ends")


def test_it_is_over_when_all_are_there(clock):
    wait = waits(known())
    assert wait.left({0, 1, 2}, True) is None
    assert wait.left({0, 1, 2, 3}, True) is None
    assert wait.left({0, 1}, True) is not None


def test_it_waits_for_the_slowest_that_is_missing(clock):
    assert pass_all(waits(known(a=0.2, b=2.0, c=5.0)), clock, {0, 1}) == pytest.approx(5.0, abs=0.01)
    assert pass_all(waits(known(a=0.2, b=2.0, c=5.0)), clock, {0, 2}) == pytest.approx(2.0, abs=0.01)
    assert pass_all(waits(known(a=0.2, b=2.0, c=5.0)), clock, {1, 2}) == pytest.approx(1.0, abs=0.01)


def test_with_less_than_the_quorum_it_waits_as_long_as_can_be(clock):
    assert pass_all(waits(known(a=0.2, b=0.2, c=0.2)), clock, {0}) == pytest.approx(10.0, abs=0.01)
    assert pass_all(waits(known(a=0.2, b=0.2, c=0.2)), clock, {0, 1}) == pytest.approx(1.0, abs=0.01)


def test_a_phase_that_needs_all_waits_as_long_as_can_be(clock):
    wait = waits(known(a=0.2, b=0.2, c=0.2), whole=True)
    assert pass_all(wait, clock, {0, 1}) == pytest.approx(10.0, abs=0.01)


def test_its_deadline_is_that_of_the_slowest(clock):
    assert waits(known(a=0.2, b=2.0, c=5.0)).deadline == pytest.approx(5.0)
    assert waits(known(a=0.2, b=2.0)).deadline == 10.0  # one was never heard
    assert waits(known(), ()).deadline is None


def test_who_is_gone_is_not_waited_for(clock):
    gone = {2}
    wait = waits(known(a=0.2, b=0.2, c=0.2), here=lambda sender: sender not in gone)
    assert wait.left({0, 1}, True) is None
    assert wait.left({0}, True) is not None
    gone.add(1)
    assert wait.left({0}, True) is None
    assert wait.left(set(), True) is not None


def test_nobody_expected_is_no_wait(clock):
    wait = waits(known(), ())
    assert wait.left(set(), True) is None
    assert wait.left(set(), False) is None
    assert wait.to_ask(set(), True) == []


def test_while_the_link_is_down_the_clock_stands(clock):
    wait = waits(known(a=0.2, b=0.2, c=3.0))
    clock.now += 1.0
    assert wait.left({0, 1}, True) is not None
    for _ in range(100):
        clock.now += POLL
        assert wait.left({0, 1}, False) == POLL
        assert wait.to_ask({0, 1}, False) == []
    assert pass_all(wait, clock, {0, 1}) == pytest.approx(2.0, abs=0.01)


def test_who_is_late_is_asked_after_ever_longer_pauses(clock):
    """Its usual time is 0.4 s, and so it is asked at 0.4, 1.2 and 2.8 s."""
    wait, began, asked = waits(known(a=0.2, b=0.4, c=0.4)), clock.now, []
    while clock.now < began + 4:
        clock.now += 0.01
        wait.left({0, 2}, True)
        asked += [(sender, clock.now - began) for sender in wait.to_ask({0, 2}, True)]
    assert [sender for sender, _ in asked] == [1, 1, 1]
    assert [time for _, time in asked] == pytest.approx([0.4, 1.2, 2.8], abs=0.02)


def test_who_was_never_heard_is_asked_soon_and_the_fastest_no_sooner_than_is_sensible(clock):
    wait = waits(known(a=0.001))
    first: dict[int, float] = {}
    began = clock.now
    while clock.now < began + 0.3:
        clock.now += 0.005
        wait.left((), True)
        for sender in wait.to_ask((), True):
            first.setdefault(sender, clock.now - began)
    assert first == pytest.approx({0: ASK_AFTER, 1: FIRST_ASK, 2: FIRST_ASK}, abs=0.006)


def test_who_is_there_or_gone_is_not_asked(clock):
    wait = waits(known(a=0.1, b=0.1, c=0.1), here=lambda sender: sender != 1)
    clock.now += 0.5
    wait.left({0}, True)
    assert wait.to_ask({0}, True) == [2]


def test_it_looks_often_at_who_is_gone_and_never_oversleeps_an_ask(clock):
    wait = waits(known(a=5.0, b=5.0, c=5.0))
    assert wait.left({0, 1}, True) == pytest.approx(ASK_AFTER)  # before that nothing is due
    clock.now += 1.0
    assert wait.left({0, 1}, True) == POLL
    clock.now += 3.9
    assert wait.left({0, 1}, True) == pytest.approx(0.1)


def test_what_is_arriving_is_not_asked_for_again(clock):
    """Frames of a long message come every 0.1 s for 2 s; then there is silence."""
    heard = {0: clock.now}
    patience = known(a=0.4)
    wait = Waits((0,), NAMES, patience, lambda sender: True, whole=True, heard=heard.__getitem__)
    began, asked = clock.now, []
    while clock.now < began + 4:
        clock.now += 0.1
        if clock.now <= began + 2:
            heard[0] = clock.now
        wait.left((), True)
        asked += [clock.now - began for _ in wait.to_ask((), True)]
    assert asked
    assert asked[0] == pytest.approx(2.4, abs=0.15)
