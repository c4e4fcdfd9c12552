"""Agents go on without whoever started the run; the same command finds it, or resumes it."""

from __future__ import annotations

import time

import pytest

from edgekit.runs.single import read_lines
from tests.chaos.heavy import heavy

pytestmark = pytest.mark.timeout(200)


def test_agents_go_on_and_the_same_command_finds_them(command):
    run = command(600)
    run.start()
    run.until_round(60)
    run.kill()
    run.until_round(90)
    run.start()
    outcome = run.finish()
    outcome.assert_held()
    outcome.assert_said("is under way with")
    assert [line["round"] for line in read_lines(run.folder)] == list(range(0, 601, 20))
    for lines in outcome.rounds.values():
        assert [line["round"] for line in lines] == list(range(600))  # each once


@heavy
def test_agents_end_the_run_and_the_same_command_gathers_it(command):
    run = command(120)
    run.start()
    run.until_round(40)
    run.kill()
    run.until_round(119)
    time.sleep(1)
    run.start()
    outcome = run.finish()
    outcome.assert_held()
    outcome.assert_said("from the snapshots of round 120")
    assert all(outcome.lost(name) == 0 for name in outcome.rounds)


def test_starter_and_agents_die_and_the_same_command_resumes(command):
    run = command(160)
    run.start()
    run.until_round(90)
    run.kill(agents=True)
    run.start()
    outcome = run.finish()
    outcome.assert_held()
    outcome.assert_said("from the snapshots of round")
    assert all(outcome.lost(name) == 0 for name in outcome.rounds)
