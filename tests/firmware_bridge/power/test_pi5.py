"""The Pi 5's power chip: both forms of its output, its model, and who has none."""

from __future__ import annotations

import pytest

from firmware_bridge.power import Unavailable
from firmware_bridge.power.pi5 import corrected, find, rails

LONG = """     3V7_WL_SW_A current(0)=0.09368929A
   3V3_SYS_A current(1)=0.08783370A
   1V8_SYS_A current(2)=0.18054710A
  DDR_VDD2_A current(3)=0.22543980A
  DDR_VDDQ_A current(4)=0.06666720A
   1V1_SYS_A current(5)=0.17566740A
    0V8_SW_A current(6)=0.37670900A
  VDD_CORE_A current(7)=6.22421000A
   3V3_DAC_A current(17)=0.00006105A
   3V3_ADC_A current(18)=0.00036630A
   0V8_AON_A current(16)=0.00305250A
      HDMI_A current(22)=0.02417580A
 3V7_WL_SW_V volt(8)=3.69977600V
   3V3_SYS_V volt(9)=3.31003300V
   1V8_SYS_V volt(10)=1.80000000V
  DDR_VDD2_V volt(11)=1.10000000V
  DDR_VDDQ_V volt(12)=0.60000000V
   1V1_SYS_V volt(13)=1.10000000V
    0V8_SW_V volt(14)=0.80000000V
  VDD_CORE_V volt(15)=0.95000000V
   3V3_DAC_V volt(20)=3.30000000V
   3V3_ADC_V volt(21)=3.30000000V
   0V8_AON_V volt(19)=0.80000000V
      HDMI_V volt(23)=5.10000000V
     EXT5V_V volt(24)=5.10000000V
      BATT_V volt(25)=0.00000000V
"""
SHORT = "VDD_CORE_A=2.0A VDD_CORE_V=0.8V\n3V3_SYS_A=0.1A 3V3_SYS_V=3.3V\nEXT5V_V=5.1V\n"
PI5 = {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}


def test_rails_with_volts_and_amperes_are_multiplied():
    found = rails(LONG)
    assert len(found) == 12
    assert found["VDD_CORE"] == pytest.approx(0.95 * 6.22421)
    assert {"EXT5V", "BATT"}.isdisjoint(found)


def test_the_short_form_is_read_too():
    assert rails(SHORT) == {"VDD_CORE": pytest.approx(1.6), "3V3_SYS": pytest.approx(0.33)}


def test_the_figure_is_corrected_and_says_so(tree, command):
    command("vcgencmd", f"cat <<'END'\n{LONG}END")
    (sensor,) = find(tree(PI5))
    assert sensor.read().watts == pytest.approx(corrected(sum(rails(LONG).values())))
    assert sensor.note.startswith("model-corrected")
    assert sensor.scope == "board"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'VCHI initialization failed' >&2; exit 255", r"VCHI initialization failed\. Join its group"),
        ("echo 'error=1 error_msg=\"Command not registered\"'", "Command not registered"),
        ("echo EXT5V_V volt\\(24\\)=5.1V", "names no rail with volts and amperes"),
    ],
)
def test_what_the_command_refuses_is_one_line(tree, command, script: str, words: str):
    command("vcgencmd", script)
    with pytest.raises(Unavailable, match=words):
        find(tree(PI5))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4", "measures no current"),
        ("Radxa ROCK 5B", "this is no Raspberry Pi 5"),
    ],
)
def test_other_boards_have_none(tree, model: str, words: str):
    with pytest.raises(Unavailable, match=words):
        find(tree({"proc/device-tree/model": model + "\0"}))


def test_a_pi_without_the_command_names_the_package(tree, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="apt install raspi-utils"):
        find(tree(PI5))
