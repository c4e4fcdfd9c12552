"""Frames that are dropped, repeated, swapped, damaged or late cost time, not what is learnt."""

from __future__ import annotations

import pytest

from edgekit.wire.faults import Faults

pytestmark = pytest.mark.timeout(120)
ROUNDS = {"rounds": 200}


def test_dropped_frames_are_asked_for_again(stage):
    with stage(ROUNDS, faults=Faults(drop=0.1, delay=0.02)).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held()
    assert outcome.count("asked") > 100
    assert outcome.count("missed") < outcome.count("asked") / 4


def test_frames_that_come_twice_count_once(stage):
    with stage(ROUNDS, faults=Faults(duplicate=0.5, delay=0.02)).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held(bound=0.001)
    assert outcome.count("missed") == 0


def test_frames_that_swap_places_find_theirs(stage):
    with stage(ROUNDS, faults=Faults(reorder=0.3, delay=0.02)).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held(bound=0.001)
    assert outcome.count("missed") == 0


def test_damaged_frames_are_counted_and_asked_for_again(stage):
    with stage(ROUNDS, faults=Faults(corrupt=0.1, delay=0.02)).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held()
    print(outcome.rounds["vm-0"][-1]["dropped"])
    assert outcome.count("asked") > 100


def test_late_frames_are_waited_for(stage):
    with stage({"rounds": 60}, faults=Faults(delay=0.3)).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held(bound=0.001)
