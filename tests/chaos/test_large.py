"""A model of 60 MB in bounded memory, while one agent does not read and another is killed."""

from __future__ import annotations

import time

import pytest

from edgekit.coordinator.patience import Deadlines
from edgekit.wire.faults import Faults

pytestmark = pytest.mark.timeout(200)
MEGABYTE = 1 << 20
BASE = 250 * MEGABYTE  # of an agent with a small model
ROW = 60 * MEGABYTE
LARGE = {
    "agents": 3,
    "model": {"mlp": {"width": 3480}},
    "rounds": 5,
    "evaluate_every": 5,
    "evaluate": {"samples": 200},
}


def test_a_model_of_60_megabytes_keeps_memory_bounded(stage):
    with stage(LARGE, faults=Faults(), deadlines=Deadlines(least=5.0, most=40.0)).playing() as scene:
        scene.until_round(1)
        reader, victim = scene.names[1], scene.names[2]
        scene.freeze(reader)
        time.sleep(3)
        scene.thaw(reader)
        scene.kill(victim)
        outcome = scene.finish(seconds=150)
    outcome.assert_held(
        bound=0.15, agents=outcome.last["agents"]
    )  # few rounds: it may be over before it is back
    assert outcome.last["agents"] >= 2
    outcome.assert_said(f"{victim} was killed")
    assert max(outcome.peaks.values()) < BASE + 26 * ROW
