"""The energy of training rounds: a sensor of known power read beside them, by itself and in a whole run."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from edgekit.coordinator.device_file import DeviceFile
from edgekit.coordinator.round_energy import RoundEnergy
from edgekit.errors import BadInput, EdgekitError
from edgekit.profile import sampler, sensors
from edgekit.runs.metrics import metrics_of_cell
from edgekit.runs.statistics import FIGURES, over_seeds
from tests.coordinator.stage import Stage, spec_of

WATTS = 5.0


class Steady:
    """A sensor of always the same power; as a counter, its joules since the clock's start."""

    name, scope, period, wrap = "steady", "board", 0.01, None

    def __init__(self, *, counts: bool = False, fails: bool = False) -> None:
        self.counts, self.fails = counts, fails

    def read(self):
        if self.fails:
            raise BadInput("steady: it vanished")
        now = time.monotonic_ns()
        joules = WATTS * now / 1e9 if self.counts else None
        return SimpleNamespace(time_ns=now, watts=None if self.counts else WATTS, joules=joules)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Readings often enough for rounds of milliseconds."""
    monkeypatch.setattr(sampler, "FLOOR", 0.002)
    monkeypatch.setattr(sampler, "COUNTER_FLOOR", 0.002)


def stretch(energy: RoundEnergy, *, rounds: int, seconds: float) -> float:
    """So many rounds in so many seconds; how long they took."""
    energy.start()
    began = time.monotonic()
    for _ in range(rounds):
        time.sleep(seconds / rounds)
        energy.round()
    ended = time.monotonic()
    energy.stop()
    return ended - began


@pytest.mark.parametrize("counts", [False, True])
def test_it_is_power_times_time_over_rounds(counts):
    energy = RoundEnergy(Steady(counts=counts))
    spent = stretch(energy, rounds=4, seconds=0.2)
    time.sleep(0.1)  # an evaluation, which is no part of a round
    spent += stretch(energy, rounds=2, seconds=0.1)
    assert energy.rounds == 6
    least = 0.5 if counts else 0.95  # a counter knows nothing before its first reading and after its last
    assert least * WATTS * spent < energy.joules < 1.05 * WATTS * spent
    assert energy.a_round == pytest.approx(energy.joules / 6)


def test_without_a_sensor_or_readings_nothing_is_known():
    none = RoundEnergy.of(None)
    stretch(none, rounds=2, seconds=0.02)
    assert none.a_round is None

    class Once(Steady):
        period = 60.0

    slow = RoundEnergy(Once())
    stretch(slow, rounds=2, seconds=0.02)
    assert (slow.a_round, slow.rounds) == (None, 0)


def test_a_sensor_that_vanishes_stops_no_training():
    sensor = Steady()
    energy = RoundEnergy(sensor)
    stretch(energy, rounds=2, seconds=0.05)
    before = energy.joules
    energy.start()
    sensor.fails = True
    time.sleep(0.03)
    energy.stop()
    stretch(energy, rounds=2, seconds=0.02)
    assert energy.rounds == 2
    assert energy.joules == before > 0


def test_it_goes_on_from_a_snapshot():
    energy = RoundEnergy(Steady())
    energy.restore({"joules": 3.0, "joule_rounds": 2})
    assert energy.a_round == 1.5
    assert RoundEnergy().a_round is None
    assert energy.facts() == {"joules": 3.0, "joule_rounds": 2}


def test_a_sensor_that_is_not_here_is_refused_before_the_run(tmp_path):
    with pytest.raises(EdgekitError, match="no-such-sensor"):
        RoundEnergy.of("no-such-sensor")


def test_agents_with_a_sensor_tell_the_energy_of_a_round(tmp_path, monkeypatch):
    monkeypatch.setattr(sensors, "find_sensor", lambda name: Steady())
    stage = Stage(tmp_path, spec_of())
    stage.start()
    began = time.monotonic()
    for number in range(4):
        device = DeviceFile(partition=number, sensor="auto" if number else None)
        stage.join(f"cam-{number}", device=device)
    stage.play()
    stage.starter.close()
    spent = time.monotonic() - began
    assert set(stage.wait().values()) == {"done"}
    first, *_, last = stage.lines()
    assert first["joules_a_round"] is None
    assert "sensor: auto" in first["not_measured"]["joules_a_round"]
    assert 0 < last["joules_a_round"] * 12 < WATTS * spent
    assert 0 < last["waited_share"] < 1

    cell = {"last": {"3": last}, "figures": {name: over_seeds([last], name) for name in FIGURES}}
    found = {row["name"]: row for row in metrics_of_cell(cell, [stage.lines()], producer="train")}
    assert found["training_energy"]["value"] == last["joules_a_round"]
    assert found["resource_utilization"]["value"] == pytest.approx(1 - last["waited_share"])
    assert found["training_time"]["value"] == last["seconds"]
