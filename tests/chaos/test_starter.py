"""Agents go on without whoever started the run; the same command finds it, or resumes it."""

from __future__ import annotations

import json
import time

import pytest

from edgekit.broker.mosquitto import Mosquitto
from edgekit.coordinator.keeper import ROUNDS
from edgekit.coordinator.training import AGENTS
from edgekit.runs.single import read_lines
from tests.chaos import logs
from tests.chaos.command import Command
from tests.chaos.outcome import BOUND, undisturbed
from tests.chaos.rig import small_study

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def command(tmp_path):
    """Makes the command for so many rounds."""
    broker, made = Mosquitto().start(), []

    def make(rounds):
        made.append(Command(tmp_path / "run", broker.url, rounds))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()
    broker.stop()


def until_round(command, number):
    """Wait until the first agent has finished a round."""
    end = time.monotonic() + 60
    while not any(logs.last_round(command.folder / AGENTS, name) >= number for name in agents(command)):
        assert time.monotonic() < end, command.words
        time.sleep(0.05)


def agents(command):
    """Their ids."""
    return {path.parent.name for path in (command.folder / AGENTS).glob(f"*/*/{ROUNDS}")}


def assert_held(command, rounds):
    """It came to its end as if nothing had happened."""
    assert command.wait(90) == 0, command.words
    last = read_lines(command.folder)[-1]
    assert (last["round"], last["agents"]) == (rounds, 4)
    study = small_study({"rounds": rounds})
    assert last["agent_metric"]["mean"] >= undisturbed(json.dumps(study.document.value)) - BOUND


def test_agents_go_on_and_the_same_command_finds_them(command):
    run = command(600)
    run.start()
    until_round(run, 60)
    run.kill()
    until_round(run, 90)
    run.start()
    assert_held(run, 600)
    assert "is under way with" in run.words
    assert [line["round"] for line in read_lines(run.folder)] == list(range(0, 601, 20))
    for lines in logs.rounds(run.folder / AGENTS).values():
        assert [line["round"] for line in lines] == list(range(600))  # each once


def test_agents_end_the_run_and_the_same_command_gathers_it(command):
    run = command(150)
    run.start()
    until_round(run, 60)
    run.kill()
    until_round(run, 149)
    time.sleep(1)
    run.start()
    assert_held(run, 150)


def test_starter_and_agents_die_and_the_same_command_resumes(command):
    run = command(200)
    run.start()
    until_round(run, 110)
    run.kill(agents=True)
    run.start()
    assert_held(run, 200)
    assert "from the snapshots of round" in run.words
