"""The sampler on trees of files: what it sees, what it costs, what it says of failures."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.profile.energy import window_energy
from edgekit.profile.sampler import Sampler, deadlines
from edgekit.profile.trace import Window
from firmware_bridge.power import Reading, find_sensor
from firmware_bridge.power.ina3221 import find
from tests.firmware_bridge.power.test_ina3221 import BOARDS, I2C, ORIN_NANO
from tests.firmware_bridge.power.test_rapl import LAPTOP, ZONES


def test_a_deadline_lies_in_each_slot():
    times = np.array(list(itertools.islice(deadlines(0.1, 3), 1000)))
    assert (np.floor(times / 0.1) == np.arange(1000)).all()
    phases = times / 0.1 % 1
    assert abs(phases.mean() - 0.5) < 0.03
    assert list(itertools.islice(deadlines(0.1, 3), 5)) == times[:5].tolist()


def test_it_measures_power_times_time(tree):
    (sensor,) = find(tree(ORIN_NANO))
    with Sampler(sensor, interval=0.01) as sampler:
        begun = time.monotonic()
        time.sleep(1.0)
        ended = time.monotonic()
    trace = sampler.trace()
    seen = window_energy(trace, Window(begun + 0.1, ended - 0.1))
    assert seen.joules == pytest.approx(5.08 * 1.2 * (ended - begun - 0.2), rel=1e-9)
    assert (trace.sensor, trace.scope) == ("ina3221 VDD_IN", "module")
    assert sampler.cost.failures == 0


def test_it_counts_joules_over_a_wrap(tree):
    root = tree({f"{ZONES}/intel-rapl:0/{name}": value for name, value in (
        ("name", "package-0"), ("energy_uj", 9_000_000), ("max_energy_range_uj", 10_000_000))})  # fmt: skip
    path, done = root / ZONES / "intel-rapl:0/energy_uj", threading.Event()
    new = path.with_name("new")

    def count() -> None:
        begun = time.monotonic()
        while not done.wait(0.002):
            new.write_text(str(int(9_000_000 + 5e6 * (time.monotonic() - begun)) % 10_000_000))
            new.replace(path)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        with Sampler(find_sensor("rapl", root), interval=0.02) as sampler:
            begun = time.monotonic()
            time.sleep(1.0)
            ended = time.monotonic()
    finally:
        done.set()
        counting.join()
    trace = sampler.trace()
    assert trace.joules is not None
    assert (np.diff(trace.joules) < 0).sum() == 1
    seen = window_energy(trace, Window(begun + 0.1, ended - 0.1), quick=True)
    assert seen.joules == pytest.approx(5.0 * (ended - begun - 0.2), rel=0.03)
    assert "went back" not in {flag.name for flag in seen.flags}


@pytest.mark.parametrize("name", ["AGX Orin", "rapl"])
def test_it_costs_under_1_percent_of_a_core_at_its_default_rate(tree, name: str):
    root = tree(LAPTOP if name == "rapl" else BOARDS[name][0])
    with Sampler(find_sensor(None, root)) as sampler:
        time.sleep(4.0)
    cost = sampler.cost
    assert cost.readings > 0.8 * 4.0 / sampler.interval - 2
    assert cost.share < 0.01


def test_a_sensor_that_vanishes_leaves_a_gap_and_its_line(tree):
    root = tree(ORIN_NANO)
    with Sampler(find(root)[0], interval=0.01) as sampler:
        time.sleep(0.5)
        (root / f"{I2C}/ina3221/1-0040/hwmon/hwmon3/in1_input").unlink()
        time.sleep(0.5)
    trace, cost = sampler.trace(), sampler.cost
    assert cost.failures > 10
    assert "the sensor has vanished" in cost.failure
    start = float(trace.times[0])
    seen = window_energy(trace, Window(start + 0.1, start + 0.9))
    assert seen.joules is None
    assert {"outside", "lost"} <= {flag.name for flag in seen.flags}
    assert np.isnan(trace.watts[-10:]).all()


def test_a_slow_sensor_is_not_read_in_bursts():
    class Slow:
        name, scope, period, wrap = "slow", "board", 0.01, None
        calls = 0

        def read(self) -> Reading:
            Slow.calls += 1
            if Slow.calls == 5:
                time.sleep(0.4)
            return Reading(time.monotonic_ns(), 1.0, None)

    with Sampler(Slow(), interval=0.02) as sampler:
        time.sleep(0.8)
    gaps = np.diff(sampler.trace().times)
    assert gaps.max() > 0.35
    assert (gaps < 0.001).sum() < 6


def test_it_starts_once_and_needs_two_readings(tree):
    sampler = Sampler(find(tree(ORIN_NANO))[0], interval=10.0)
    with pytest.raises(BadInput, match=r"gave 0 readings\. Measure longer"):
        sampler.trace()
    sampler.start()
    with pytest.raises(ValueError, match="started twice"):
        sampler.start()
    sampler.stop()
    assert len(sampler.trace().times) >= 2  # at its start and end, however short
