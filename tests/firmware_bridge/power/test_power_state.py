"""The state a board was measured in, from fake commands on PATH and a tree."""

from __future__ import annotations

import json

import pytest

from edgekit.errors import BadInput
from firmware_bridge.power import Unavailable
from firmware_bridge.power.state import in_power_mode, power_mode, power_modes, power_state

CPU = "sys/devices/system/cpu"
THERMAL = "sys/class/thermal"
BOARD = {
    f"{CPU}/cpu0/cpufreq/scaling_governor": "schedutil",
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": 1_510_400,
    f"{CPU}/cpu10/cpufreq/scaling_governor": "performance",
    f"{CPU}/cpu10/cpufreq/scaling_cur_freq": 729_600,
    f"{THERMAL}/thermal_zone0/type": "cpu-thermal",
    f"{THERMAL}/thermal_zone0/temp": 48_312,
    f"{THERMAL}/thermal_zone1/type": "gpu-thermal",
    f"{THERMAL}/thermal_zone1/temp": "",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=25W >\n",
}
LOCKED = """echo 'SOC family:tegra234  Machine:NVIDIA Jetson Orin Nano Developer Kit'
echo 'cpu0: Online=1 Governor=schedutil MinFreq=1510400 MaxFreq=1510400 CurrentFreq=1510400 IdleStates: WFI=0'
echo 'cpu1: Online=1 Governor=schedutil MinFreq={low} MaxFreq=1510400 CurrentFreq=1510400 IdleStates: WFI=0'
echo 'GPU MinFreq=306000000 MaxFreq=624750000 CurrentFreq=306000000'"""
NVPMODEL = """if [ "$1" = -q ]; then echo "NV Power Mode: $(cat {file})"; cat {file}.id; exit; fi
echo $2 > {file}.id; if [ "$2" = 1 ]; then echo 25W > {file}; else echo 15W > {file}; fi"""


def test_everything_a_jetson_says_is_recorded(tree, command):
    command(
        "nvpmodel", "echo 'NVPM WARN: fan mode is not set!'; echo 'NV Power Mode: MODE_15W_6CORE'; echo 2"
    )
    command("jetson_clocks", LOCKED.format(low=1510400))
    state = power_state(tree(BOARD))
    assert (state.power_mode, state.power_mode_id, state.clocks_locked) == ("MODE_15W_6CORE", 2, True)
    assert state.governors == {"cpu0": "schedutil", "cpu10": "performance"}
    assert state.megahertz == {"cpu0": 1510.4, "cpu10": 729.6}
    assert state.temperatures == {"cpu-thermal": 48.312}
    assert state.unknown == {}
    assert json.loads(json.dumps(state.to_json()))["power_mode"] == "MODE_15W_6CORE"


def test_clocks_that_may_move_are_not_locked(tree, command):
    command("jetson_clocks", LOCKED.format(low=729600))
    assert power_state(tree({})).clocks_locked is False


def test_what_is_unknown_has_its_reason(tree, monkeypatch):
    monkeypatch.setenv("PATH", "")
    state = power_state(tree({}))
    assert state.power_mode is None
    assert state.clocks_locked is None
    assert set(state.unknown) == {"power_mode", "clocks_locked", "governors", "megahertz", "temperatures"}


def test_a_command_that_wants_root_says_so(command):
    command("nvpmodel", "echo 'NVPM ERROR: Please run with sudo' >&2; exit 1")
    with pytest.raises(Unavailable, match=r"Please run with sudo\. Run as root: sudo nvpmodel -q"):
        power_mode()


@pytest.mark.parametrize("fails", [False, True])
def test_a_power_mode_is_set_and_restored(tree, command, tmp_path, fails: bool):
    file = tmp_path / "mode"
    file.write_text("15W\n")
    file.with_suffix(".id").write_text("0\n")
    command("nvpmodel", NVPMODEL.format(file=file))
    root = tree(BOARD)
    assert power_modes(root) == {"15W": 0, "25W": 1}
    try:
        with in_power_mode("25W", root):
            assert power_mode() == ("25W", 1)
            if fails:
                raise RuntimeError("the load")
    except RuntimeError:
        assert fails
    assert power_mode() == ("15W", 0)


def test_a_mode_that_the_board_has_not_is_refused(tree):
    with (
        pytest.raises(BadInput, match=r"'MAXN' is no mode of this board\. Known: 15W, 25W"),
        in_power_mode("MAXN", tree(BOARD)),
    ):
        pass
