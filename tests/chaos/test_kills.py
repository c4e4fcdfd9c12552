"""Agents that are killed, in whatever they do, come back and cost the others nothing but their own part."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timeout(150)
LONG = {"rounds": 350}


def test_one_that_is_killed_is_taken_in_again(stage):
    with stage(LONG).playing() as scene:
        scene.until_round(40)
        victim = scene.names[2]
        scene.kill(victim)
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said(rf"{victim} was killed \(SIGKILL\)", rf"joined: {victim}")
    assert outcome.longest() < 5.0
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name != victim)


def test_the_one_that_leads_is_followed_by_the_next(stage):
    with stage(LONG).playing() as scene:
        scene.until_round(40)
        first, second = scene.names[:2]
        scene.kill(first)
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said(rf"{second}: epoch .*joined: {first}")
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name != first)


def test_kills_before_the_first_round_hold_nobody_up(stage):
    with stage({"rounds": 300}).playing() as scene:
        joining, ready = scene.names[1], scene.names[3]
        scene.until_status(joining, "joining")
        scene.kill(joining)
        scene.until_status(ready, "ready")
        scene.kill(ready)
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said(f"{joining} was killed", f"{ready} was killed")
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name not in (joining, ready))


def test_one_that_is_killed_as_it_comes_back_comes_back_again(stage):
    with stage({"rounds": 500}).playing() as scene:
        scene.until_round(40)
        victim = scene.names[3]
        scene.kill(victim)
        scene.until_status(victim, "lost")
        scene.until_status(victim, "ready")
        scene.kill(victim)
        scene.until_status(victim, "lost")
        scene.until_status(victim, "training")
        scene.kill(victim)
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said(rf"joined: {victim}")
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name != victim)


def test_one_that_is_killed_near_the_end_holds_nobody_up(stage):
    with stage({"rounds": 60}).playing() as scene:
        victim = scene.names[3]
        scene.until_round(45, victim)
        scene.kill(victim)
        outcome = scene.finish()
    outcome.assert_held(agents=outcome.last["agents"])
    outcome.assert_said(f"{victim} was killed")
    assert outcome.last["agents"] >= 3


def test_two_at_once_leave_the_others_training(stage):
    with stage(LONG).playing() as scene:
        scene.until_round(40)
        victims = scene.names[1:3]
        scene.kill(*victims)
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said(*(f"{victim} was killed" for victim in victims), rf"joined: .*{victims[1]}")
    assert all(outcome.lost(name) == 0 for name in outcome.rounds if name not in victims)


def test_all_at_once_go_on_from_their_snapshots(stage):
    with stage({"rounds": 200}).playing() as scene:
        scene.until_round(110)
        scene.kill(*scene.names)
        outcome = scene.finish()
    outcome.assert_held()
    outcome.assert_said(r"all were lost: 4 agents go on from the snapshots of round 1\d\d")
    assert all(outcome.lost(name) == 0 for name in outcome.rounds)
