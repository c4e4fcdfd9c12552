"""Who reads slowly, or not at all for a while, costs the others a bounded wait and bounded memory."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from edgekit.broker.mosquitto import Mosquitto
from edgekit.wire.faults import Faults

pytestmark = pytest.mark.timeout(150)
MEGABYTE = 1 << 20


def test_a_slow_reader_is_waited_for_and_loses_nothing(stage):
    def tamper(number, post):
        return replace(post, faults=Faults(delay=0.2)) if number == 1 else post

    with stage({"rounds": 60}, tamper=tamper).playing() as scene:
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_counted("waited")
    assert outcome.count("missed") < 10


def test_one_that_stops_and_goes_on_catches_up(stage):
    with stage({"rounds": 400}).playing() as scene:
        slow = scene.names[2]
        for number in (40, 60, 80):
            scene.until_round(number)
            scene.freeze(slow)
            time.sleep(1.5)
            scene.thaw(slow)
        outcome = scene.finish()
    outcome.assert_held()
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name != slow)
    outcome.assert_counted("missed")
    assert outcome.longest() < 5.0


def test_a_full_queue_at_the_broker_loses_frames_that_are_asked_for_again(stage):
    wide = {"model": {"mlp": {"width": 128}}, "rounds": 200}  # frames of 470 kB, in 2 chunks
    with stage(wide, broker=Mosquitto(queued=MEGABYTE)).playing() as scene:
        scene.until_round(30)
        reader = scene.names[2]
        scene.freeze(reader)
        time.sleep(3)
        scene.thaw(reader)
        outcome = scene.finish()
    outcome.assert_held(bound=0.08)  # the reader, and a quarter of the data, is away for half of the rounds
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name != reader)
    outcome.assert_counted("asked")
    assert max(outcome.peaks.values()) < 500 * MEGABYTE
