"""Frames that are dropped, repeated, swapped, damaged or late cost time, not what is learnt."""

from __future__ import annotations

import pytest

from edgekit.wire.faults import Faults

pytestmark = pytest.mark.timeout(120)
SAME = 1e-6  # of accuracy, where nothing was missed


def test_dropped_frames_are_asked_for_again(stage):
    with stage({"rounds": 100}, faults=Faults(drop=0.05, delay=0.01)).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_counted("asked", least=20)
    assert outcome.count("missed") < outcome.count("asked") / 10


def test_damaged_frames_are_counted_and_asked_for_again(stage):
    with stage({"rounds": 100}, faults=Faults(corrupt=0.05, delay=0.01)).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_counted("asked", least=20)
    outcome.assert_dropped("wrong checksum", least=5)
    outcome.assert_dropped("another length than its header says", least=5)


def test_frames_that_come_twice_and_swap_places_change_nothing(stage):
    with stage({"rounds": 200}, faults=Faults(duplicate=0.5, reorder=0.3, delay=0.01)).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held(bound=SAME)
    outcome.assert_dropped("duplicate", least=100)
    assert outcome.count("missed") == 0


def test_late_frames_are_waited_for(stage):
    with stage({"rounds": 30}, faults=Faults(delay=0.3)).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held(bound=SAME)
    outcome.assert_counted("waited")
    assert outcome.count("missed") == 0
