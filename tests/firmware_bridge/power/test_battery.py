"""Batteries: power told or made of volts and amperes, and only while they discharge."""

from __future__ import annotations

import pytest

from firmware_bridge.power import Unavailable
from firmware_bridge.power.battery import find

SUPPLY = "sys/class/power_supply"
LAPTOP = {
    f"{SUPPLY}/AC/type": "Mains",
    f"{SUPPLY}/BAT0/type": "Battery",
    f"{SUPPLY}/BAT0/status": "Discharging",
    f"{SUPPLY}/BAT0/power_now": 8_120_000,
    f"{SUPPLY}/hidpp_battery_0/type": "Battery",
    f"{SUPPLY}/hidpp_battery_0/scope": "Device",
    f"{SUPPLY}/hidpp_battery_0/power_now": 1,
}
ROBOT = {
    f"{SUPPLY}/bq27441/type": "Battery",
    f"{SUPPLY}/bq27441/status": "Discharging",
    f"{SUPPLY}/bq27441/voltage_now": 7_400_000,
    f"{SUPPLY}/bq27441/current_now": -1_500_000,
}


@pytest.mark.parametrize(
    ("files", "name", "watts"), [(LAPTOP, "battery BAT0", 8.12), (ROBOT, "battery bq27441", 11.1)]
)
def test_a_battery_tells_its_watts(tree, files, name: str, watts: float):
    (battery,) = find(tree(files))
    assert (battery.name, battery.scope) == (name, "board")
    assert battery.read().watts == pytest.approx(watts)


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging"])
def test_a_battery_that_is_charged_measures_nothing(tree, status: str):
    with pytest.raises(Unavailable, match=f"BAT0 is '{status}', not discharging. Unplug"):
        find(tree({**LAPTOP, f"{SUPPLY}/BAT0/status": status}))


def test_a_charger_plugged_in_meanwhile_is_noticed(tree):
    (battery,) = find(tree(LAPTOP))
    tree({f"{SUPPLY}/BAT0/status": "Charging"})
    with pytest.raises(Unavailable, match="Unplug the charger"):
        battery.read()


def test_none_is_one_line(tree):
    with pytest.raises(Unavailable, match="none under /sys/class/power_supply"):
        find(tree({f"{SUPPLY}/AC/type": "Mains"}))
