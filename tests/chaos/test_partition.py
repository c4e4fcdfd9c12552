"""A partition between two network namespaces: those with the broker go on; the others wait, and are let in again."""

from __future__ import annotations

import time

import pytest

from edgekit.broker.mosquitto import Listener, Mosquitto
from tests.chaos.heavy import heavy
from tests.chaos.wall import Wall

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def wall():
    if missing := Wall.missing():
        pytest.skip(missing)
    with Wall() as made:
        yield made


def divided(stage, wall, rounds):
    """A scene whose last agent is behind the wall."""
    return stage(
        {"rounds": rounds},
        broker=Mosquitto(Listener(host="0.0.0.0")),
        tamper=lambda number, post: wall.behind(post) if number == 3 else post,
    )


def test_a_short_partition_is_caught_up_with(stage, wall):
    with divided(stage, wall, 600).playing() as scene:
        scene.until_round(50)
        away = scene.names[3]
        wall.cut()
        scene.act(f"cut off {away}")
        time.sleep(4)
        before = scene.round(scene.names[0])
        wall.heal()
        scene.act("heal")
        outcome = scene.finish()
    assert before > 100, "the others did not go on"
    outcome.assert_held()
    outcome.assert_said(f"{away}: more than a few rounds behind", f"joined: {away}")
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name != away)


@heavy
def test_a_long_partition_ends_in_two_rosters(stage, wall):
    with divided(stage, wall, 2500).playing() as scene:
        scene.until_round(50)
        away = scene.names[3]
        wall.cut()
        scene.act(f"cut off {away}")
        scene.until_said(f"{away}: the link is down")
        time.sleep(3)
        here = scene.round(away)
        wall.heal()
        scene.act("heal")
        scene.until_said(f"joined: {away}")
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said(f"lost: {away}", f"{away}: the link is down", f"joined: {away}")
    assert here < 150, "it went on alone"
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name != away)
