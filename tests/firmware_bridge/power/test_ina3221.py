"""The rails of every Jetson: which are added, which are shown only, which are not there."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from edgekit.profile.energy import window_energy
from edgekit.profile.sampler import Sampler
from edgekit.profile.trace import Window
from firmware_bridge.power import Unavailable, find_sensor
from firmware_bridge.power.ina3221 import find
from firmware_bridge.power.jetson_rails import TABLE

I2C = "sys/bus/i2c/drivers"


def hwmon(
    rails: list[tuple[str, int, int]], *, address: str = "1-0040", number: int = 3
) -> dict[str, object]:
    """JetPack 5 and later: label, mV and mA of three channels, and the sum of shunts on channel 7."""
    folder = f"{I2C}/ina3221/{address}/hwmon/hwmon{number}"
    files: dict[str, object] = {f"{folder}/name": "ina3221", f"{folder}/in7_label": "sum of shunt voltages"}
    files[f"{folder}/in7_input"] = 1234
    for index, (label, millivolts, milliamps) in enumerate(rails, 1):
        files[f"{folder}/in{index}_label"] = label
        files[f"{folder}/in{index}_input"] = millivolts
        files[f"{folder}/curr{index}_input"] = milliamps
    return files


def iio(rails: list[tuple[str, int]], *, address: str = "6-0040") -> dict[str, object]:
    """JetPack 4: name and mW of three channels."""
    folder = f"{I2C}/ina3221x/{address}/iio:device0"
    files: dict[str, object] = {}
    for index, (label, milliwatts) in enumerate(rails):
        files[f"{folder}/rail_name_{index}"] = label
        files[f"{folder}/in_power{index}_input"] = milliwatts
        files[f"{folder}/in_voltage{index}_input"] = 5000
        files[f"{folder}/in_current{index}_input"] = milliwatts // 5
    return files


def model(text: str, compatible: str = "") -> dict[str, object]:
    return {
        "proc/device-tree/model": text + "\0",
        "proc/device-tree/compatible": compatible.replace(" ", "\0"),
    }


ORIN_NANO = {
    **model(
        "NVIDIA Jetson Orin Nano Developer Kit",
        "nvidia,p3768-0000+p3767-0005 nvidia,p3767-0005 nvidia,tegra234",
    ),
    **hwmon([("VDD_IN", 5080, 1200), ("VDD_CPU_GPU_CV", 5072, 300), ("VDD_SOC", 5072, 250)]),
}
BOARDS = {
    "Nano": (
        {**model("NVIDIA Jetson Nano Developer Kit", "nvidia,p3449-0000-b00+p3448-0000-b00"),
         **iio([("POM_5V_IN", 3200), ("POM_5V_GPU", 400), ("POM_5V_CPU", 900)])},
        3.2,
    ),
    "TX2": (
        {**model("quill", "nvidia,p2597-0000+p3310-1000 nvidia,quill"),
         **iio([("VDD_SYS_GPU", 152), ("VDD_SYS_SOC", 610), ("VDD_4V0_WIFI", 19)], address="0-0040"),
         **iio([("VDD_IN", 3500), ("VDD_SYS_CPU", 500), ("VDD_SYS_DDR", 700)], address="0-0041"),
         **iio([("VDD_MUX", 6000), ("VDD_5V0_IO_SYS", 1500), ("VDD_3V3_SYS", 800)], address="0-0042")},
        3.5,
    ),
    "Xavier NX": (
        {**model("NVIDIA Jetson Xavier NX Developer Kit", "nvidia,p3449-0000+p3668-0000"),
         **iio([("VDD_IN", 4100), ("VDD_CPU_GPU_CV", 800), ("VDD_SOC", 1000)])},
        4.1,
    ),
    "AGX Xavier": (
        {**model("Jetson-AGX", "nvidia,p2822-0000+p2888-0001"),
         **iio([("GPU", 1000), ("CPU", 2000), ("SOC", 3000)], address="1-0040"),
         **iio([("CV", 100), ("VDDRQ", 500), ("SYS5V", 2500)], address="1-0041")},
        9.1,
    ),
    "Orin Nano": (ORIN_NANO, 5.08 * 1.2),
    "Orin NX": (
        {**model("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "nvidia,p3768-0000+p3767-0000"),
         **hwmon([("VDD_IN", 5000, 1500), ("VDD_CPU_GPU_CV", 5000, 400), ("VDD_SOC", 5000, 300)])},
        7.5,
    ),
    "AGX Orin": (
        {**model("NVIDIA Jetson AGX Orin Developer Kit", "nvidia,p3737-0000+p3701-0000"),
         **hwmon([("VDD_GPU_SOC", 19000, 200), ("VDD_CPU_CV", 19000, 50), ("VIN_SYS_5V0", 5000, 800)]),
         **hwmon([("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5000, 300), ("NC", 0, 0)], address="1-0041", number=4)},
        3.8 + 0.95 + 4.0,
    ),
    "Thor": (
        {**model("NVIDIA Jetson AGX Thor Developer Kit", "nvidia,p3971-0089+p3834-0008 nvidia,tegra264"),
         **hwmon([("VDD_GPU", 19000, 100), ("VDD_CPU_SOC_MSS", 19000, 300), ("VIN_SYS_5V0", 5000, 1300)])},
        1.9 + 5.7 + 6.5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_s_total_is_counted_once(tree, board: str):
    files, watts = BOARDS[board]
    (sensor,) = find(tree(files))
    assert sensor.read().watts == pytest.approx(watts)
    assert sensor.read().joules is None
    assert sensor.scope == "module"
    assert sensor.note.startswith(board)
    assert "not in the table" not in sensor.note
    assert not {"NC", "sum of shunt voltages"} & set(sensor.rails())


def test_the_table_has_every_board_with_a_source():
    assert set(BOARDS) <= {rails.board for rails in TABLE}
    assert all(rails.source for rails in TABLE)
    assert all(not set(rails.total) & set(rails.shown) for rails in TABLE)


@pytest.mark.parametrize("board", BOARDS)
def test_the_model_alone_is_enough_where_the_module_s_number_is_unknown(tree, board: str):
    files = {**BOARDS[board][0], "proc/device-tree/compatible": ""}
    if board == "TX2":
        files["proc/device-tree/model"] = "NVIDIA Jetson TX2 Developer Kit"
    assert find(tree(files))[0].note.startswith(board)


def test_the_driver_says_how_often_it_has_a_new_value(tree):
    folder = f"{I2C}/ina3221/1-0040/hwmon/hwmon3"
    assert find(tree({**ORIN_NANO, f"{folder}/update_interval": 563}))[0].period == 0.563
    assert find(tree({**ORIN_NANO, f"{folder}/update_interval": 0}))[0].period == 0.1


def first_file(root: Path, board: str) -> Path:
    """A file that the board's total is read from."""
    (sensor,) = find(root)
    rail = sensor.total[0]
    return rail.milliwatts or rail.milliamps


@pytest.mark.parametrize("board", BOARDS)
def test_a_rail_that_is_not_in_the_table_is_named_not_added_and_can_be_said_to_count(tree, board: str):
    files, watts = BOARDS[board]
    old = any("ina3221x" in name for name in files)
    more = (
        iio([("VDD_CAMERA", 500)], address="9-0041")
        if old
        else hwmon([("VDD_CAMERA", 5000, 100)], address="9-0041", number=9)
    )
    root = tree({**files, **more})
    (sensor,) = find(root)
    assert sensor.read().watts == pytest.approx(watts)
    assert sensor.rails()["VDD_CAMERA"] == pytest.approx(0.5)
    said = f"VDD_CAMERA is not in the table and not added (to add it, name the sensor '{sensor.name}+VDD_CAMERA')"
    assert said in sensor.note
    named = find_sensor(f"{sensor.name}+VDD_CAMERA", root)
    assert named.read().watts == pytest.approx(watts + 0.5)
    assert named.note == "rails as they were named"


def test_a_named_rail_that_is_not_there_is_one_line(tree):
    with pytest.raises(Unavailable, match=r"no rail 'VDD_SOK' is here\. Did you mean 'VDD_SOC'"):
        find_sensor("ina3221 VDD_IN+VDD_SOK", tree(ORIN_NANO))


@pytest.mark.parametrize("board", BOARDS)
def test_permission_denied_names_the_chmod(tree, refused, board: str):
    root = tree(BOARDS[board][0])
    file = first_file(root, board).relative_to(root)
    out = refused(root, "ina3221", str(file))
    assert out.count("\n") == 1
    assert "may not be read by this user" in out
    assert out.rstrip().endswith(f"{file}")
    assert "sudo chmod a+r /" in out


@pytest.mark.parametrize("board", BOARDS)
def test_a_sensor_that_vanishes_while_it_is_sampled_is_nan_and_lost(tree, board: str):
    root = tree(BOARDS[board][0])
    file = first_file(root, board)
    with Sampler(find(root)[0], interval=0.01) as sampler:
        time.sleep(0.25)
        file.unlink()
        time.sleep(0.25)
    trace = sampler.trace()
    assert "the sensor has vanished" in sampler.cost.failure
    assert np.isfinite(trace.watts[:5]).all()
    assert np.isnan(trace.watts[-5:]).all()
    start, end = float(trace.times[0]), float(trace.times[-1])
    seen = window_energy(trace, Window(start + 0.05, end))
    assert seen.joules is None
    assert "lost" in {flag.name for flag in seen.flags}


def test_a_board_without_its_total_is_refused_with_what_is_there(tree):
    files = {**ORIN_NANO, f"{I2C}/ina3221/1-0040/hwmon/hwmon3/in1_label": "NC"}
    with pytest.raises(Unavailable, match=r"a Orin Nano has VDD_IN, and VDD_IN cannot be found.*VDD_SOC"):
        find(tree(files))


def test_an_unknown_board_is_taken_by_its_input_rail_or_refused(tree, tmp_path: Path):
    files = {**hwmon([("VDD_IN", 5000, 1000), ("VDD_X", 5000, 100)]), **model("Somebody's carrier")}
    root = tree(files)
    assert find(root)[0].read().watts == 5.0
    assert "not in the table" in find(root)[0].note
    (root / f"{I2C}/ina3221/1-0040/hwmon/hwmon3/in1_label").write_text("VDD_Y\n")
    with pytest.raises(
        Unavailable, match=r"none of VDD_Y, VDD_X is known as its input\..*watch 'ina3221 VDD_Y"
    ):
        find(root)
    assert find_sensor("ina3221 VDD_Y", root).read().watts == 5.0


def test_a_sensor_that_vanishes_says_so_in_one_line(tree):
    root = tree(ORIN_NANO)
    (sensor,) = find(root)
    (root / f"{I2C}/ina3221/1-0040/hwmon/hwmon3/in1_input").unlink()
    with pytest.raises(Unavailable, match="the sensor has vanished"):
        sensor.read()


def test_a_file_that_holds_no_number_is_named(tree):
    root = tree(ORIN_NANO)
    (sensor,) = find(root)
    (root / f"{I2C}/ina3221/1-0040/hwmon/hwmon3/curr1_input").write_text("\n")
    with pytest.raises(Unavailable, match=r"curr1_input says '', which is no number"):
        sensor.read()


def test_no_jetson_is_one_line(tmp_path: Path):
    with pytest.raises(Unavailable, match="no monitor with a labelled rail"):
        find(tmp_path)
