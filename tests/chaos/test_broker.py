"""A broker that dies and comes back finds the run where it was; who comes back to it last may have to catch up."""

from __future__ import annotations

import time

import pytest

from tests.chaos.heavy import heavy

pytestmark = pytest.mark.timeout(150)


def test_a_broker_that_is_killed_in_mid_round_is_waited_for(stage):
    with stage({"rounds": 200}).playing() as scene:
        scene.until_round(80)
        scene.kill_broker()
        time.sleep(2)
        scene.start_broker()
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said("the link is down", "the link is up")
    assert sum(outcome.lost(name) > 0 for name in outcome.rounds) <= 2


@heavy
def test_a_broker_that_comes_and_goes_is_waited_for_each_time(stage):
    with stage({"rounds": 300}).playing() as scene:
        for number in (40, 80, 120):
            scene.until_round(number)
            scene.kill_broker()
            time.sleep(0.3)
            scene.start_broker()
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said("the link is down", "the link is up")
    assert sum(outcome.lost(name) > 0 for name in outcome.rounds) <= 2


def test_broker_and_agents_die_together(stage):
    with stage({"rounds": 200}).playing() as scene:
        scene.until_round(110)
        scene.kill_broker()
        scene.kill(*scene.names)
        time.sleep(1)
        scene.start_broker()
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said("go on from the snapshots of round")
    assert all(outcome.lost(name) == 0 for name in outcome.rounds)
