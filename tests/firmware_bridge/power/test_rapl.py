"""RAPL's counters: their sum, their wrap, and who may read them."""

from __future__ import annotations

import pytest

from firmware_bridge.power import Unavailable
from firmware_bridge.power.rapl import RaplSum, find

ZONES = "sys/class/powercap"
RANGE = 262_143_328_850


def zone(place: str, name: str, microjoules: int, most: int = RANGE) -> dict[str, object]:
    folder = f"{ZONES}/{place}"
    return {f"{folder}/name": name, f"{folder}/energy_uj": microjoules, f"{folder}/max_energy_range_uj": most}


LAPTOP = {
    **zone("intel-rapl:0", "package-0", 1_500_000),
    **zone("intel-rapl:0:0", "core", 900_000),
    **zone("intel-rapl:0:1", "uncore", 100_000),
    **zone("intel-rapl:0:2", "dram", 77_000, 65_712_999_613),
    **zone("intel-rapl:1", "psys", 9_000_000),
    **zone("intel-rapl-mmio:0", "package-0", 1_500_000),
    f"{ZONES}/intel-rapl/enabled": 1,
}


def test_the_platform_and_the_package_are_sensors_and_their_parts_are_not(tree):
    platform, package = find(tree(LAPTOP))
    assert (platform.name, platform.scope, platform.read().joules) == ("rapl psys", "board", 9.0)
    assert (package.name, package.scope, package.read().joules) == ("rapl package-0", "cpu", 1.5)
    assert package.read().watts is None
    assert package.wrap == pytest.approx(262143.32885)


def test_two_packages_are_one_counter_that_goes_on_over_a_wrap(tree):
    root = tree({**zone("intel-rapl:0", "package-0", 90, 100), **zone("intel-rapl:1", "package-1", 5, 100)})
    (both,) = find(root)
    assert isinstance(both, RaplSum)
    assert both.read().joules == 0.0
    (root / ZONES / "intel-rapl:0/energy_uj").write_text("20\n")
    (root / ZONES / "intel-rapl:1/energy_uj").write_text("15\n")
    assert both.read().joules == pytest.approx(40e-6)
    assert both.read().joules == pytest.approx(40e-6)
    assert both.wrap is None


def test_none_is_one_line(tree):
    with pytest.raises(Unavailable, match="no counter under /sys/class/powercap"):
        find(tree({f"{ZONES}/dtpm/name": "x"}))


def test_permission_denied_names_the_udev_rule(tree, refused):
    """Read by a user who is not root, as on every machine since the side channel of 2020."""
    out = refused(tree(LAPTOP), "rapl", f"{ZONES}/intel-rapl:0/energy_uj")
    assert out.count("\n") == 1
    assert "intel-rapl:0/energy_uj may not be read by this user" in out
    rule = """'ACTION=="add", SUBSYSTEM=="powercap", RUN+="/bin/chmod a+r /sys%p/energy_uj"'"""
    assert f"echo {rule} | sudo tee /etc/udev/rules.d/70-rapl.rules; sudo udevadm trigger" in out
