"""PMBus and INA monitors of FPGA boards, as their kernels show them."""

from __future__ import annotations

import pytest

from firmware_bridge.power import Unavailable
from firmware_bridge.power.hwmon import find

HWMON = "sys/class/hwmon"
KV260 = {
    f"{HWMON}/hwmon0/name": "ina260_u14",
    f"{HWMON}/hwmon0/power1_input": 3_850_000,
    f"{HWMON}/hwmon0/in1_input": 5063,
    f"{HWMON}/hwmon0/curr1_input": 760,
}
ZCU104 = {
    f"{HWMON}/hwmon0/name": "irps5401",
    **{f"{HWMON}/hwmon0/power{n}_label": label for n, label in ((1, "pout1"), (2, "pout2"), (3, "pout3"))},
    **{f"{HWMON}/hwmon0/power{n}_input": watts for n, watts in ((1, 1_000_000), (2, 500_000), (3, 250_000))},
    f"{HWMON}/hwmon1/name": "ir38064",
    f"{HWMON}/hwmon1/power1_label": "pin",
    f"{HWMON}/hwmon1/power1_input": 2_000_000,
    f"{HWMON}/hwmon1/power2_label": "pout1",
    f"{HWMON}/hwmon1/power2_input": 1_800_000,
    f"{HWMON}/hwmon2/name": "nvme",
    f"{HWMON}/hwmon2/power1_input": 9_000_000,
}
ZCU102 = {
    f"{HWMON}/hwmon{n}/{file}": value
    for n in range(3)
    for file, value in (
        ("name", f"ina226_u7{6 + n}"),
        ("power1_input", 100_000 * (n + 1)),
        ("update_interval", 140),
    )
}


@pytest.mark.parametrize(("files", "watts"), [(KV260, 3.85), (ZCU104, 3.75), (ZCU102, 0.6)])
def test_rails_are_added_and_no_converter_twice(tree, files, watts: float):
    (sensor,) = find(tree(files))
    assert sensor.read().watts == pytest.approx(watts)
    assert sensor.scope == "module"
    assert sum(sensor.rails().values()) == pytest.approx(watts)
    assert "nvme" not in sensor.note


def test_the_driver_says_its_period(tree):
    assert find(tree(ZCU102))[0].period == 0.14


def test_volts_and_amperes_serve_where_power_is_not_told(tree):
    files = {name: value for name, value in KV260.items() if "power" not in name}
    assert find(tree(files))[0].read().watts == pytest.approx(5.063 * 0.76)


def test_a_board_without_monitors_is_sent_to_a_bench_meter(tree):
    with pytest.raises(Unavailable, match="PYNQ-Z1 and Z2 have none"):
        find(tree({f"{HWMON}/hwmon0/name": "xadc", f"{HWMON}/hwmon0/temp1_input": 40_000}))
