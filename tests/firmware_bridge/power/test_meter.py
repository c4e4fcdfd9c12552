"""Bench meters' files: their forms, and each fault with its line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.profile.energy import window_energy
from edgekit.profile.trace import Window
from firmware_bridge.power.meter import read_meter
from firmware_bridge.power.windows import read_windows


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rows(count: int, line: str, step: float = 1.0) -> list[str]:
    return [line.format(index * step) for index in range(count)]


FORMS = {
    "PPK2": ["Timestamp(ms),Current(uA),D0-D7", *rows(2001, "{:.3f},12500.5,00000000", 10.0)],
    "LPM01A": ["Current (nA);Time (ms)", *rows(2001, "12500500;{:.3f}", 10.0)],
    "JS220": ["#time (s),current (A),voltage (V)", *rows(2001, "{:.5f},0.0125005,3.3", 0.01)],
    "power": ["time_s,power_mW", *rows(2001, "{:.5f},41.25165", 0.01)],
    "dates": [
        "Timestamp,Power [W]",
        *(f"2026-05-03T10:00:{n // 100:02d}.{n % 100:02d}0Z,0.04125165" for n in range(2001)),
    ],
    "EMON": ["timestamp (us)\tenergy (uJ)", *(f"{n * 10_000}\t{n * 412.5165:.4f}" for n in range(2001))],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read_in_si_units(tmp_path: Path, form: str):
    file = read_meter(written(tmp_path, "\n".join(FORMS[form]) + "\n"), volts=3.3)
    start = float(file.trace.times[0])
    seen = window_energy(file.trace, Window(start + 2.0, start + 14.0))
    assert seen.joules == pytest.approx(0.04125165 * 12, rel=1e-6)
    assert file.faults == ()
    assert (file.form == form) == (form in ("PPK2", "LPM01A"))


def test_current_without_a_voltage_asks_for_the_supply(tmp_path: Path):
    with pytest.raises(BadInput, match=r"trace\.csv:1 has current and no voltage.*--volts 3\.3"):
        read_meter(written(tmp_path, "\n".join(FORMS["PPK2"])))


def test_lines_before_the_header_are_passed_over(tmp_path: Path):
    text = "Joulescope JS220-000415\nfirmware 1.2\n" + "\n".join(FORMS["power"])
    assert len(read_meter(written(tmp_path, text)).trace.times) == 2001


def test_broken_lines_gaps_and_clocks_that_go_back_are_named_by_line(tmp_path: Path):
    lines = list(FORMS["power"])
    lines[500] = "4.99,"
    lines[700] = "6.99,overload"
    lines[900] = "1.00,41.25"
    del lines[1200:1300]
    path = written(tmp_path, "\n".join(lines) + "\n")
    file = read_meter(path)
    assert file.faults == (
        f"{path}:501: broken line '4.99,'",
        f"{path}:701: broken line '6.99,overload'",
        f"{path}:901: time does not rise",
        f"{path}:1201: gap of 1.01 s",
    )
    seen = window_energy(file.trace, Window(2.0, 14.0))
    assert "gap" in {flag.name for flag in seen.flags}


def test_a_blank_last_line_is_no_fault(tmp_path: Path):
    assert read_meter(written(tmp_path, "\n".join(FORMS["power"]) + "\n\n\n")).faults == ()


def test_a_file_with_many_broken_lines_is_refused(tmp_path: Path):
    lines = [*FORMS["power"][:100], *["###"] * 5]
    with pytest.raises(BadInput, match=r"5 of 104 lines are broken, the first at .*trace\.csv:101"):
        read_meter(written(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2\n3,4\n", r":1 names no columns of time and power\. Write a first line"),
        ("", "names no columns"),
        ("time (s),temperature (C)\n1,2\n", "names no power, energy, or voltage and current"),
        ("time (s),power (VA)\n1,2\n", "names no power"),
        ("time (s),power (W)\n1,2\n", "fewer than two readings"),
    ],
)
def test_a_file_of_no_known_form_is_refused(tmp_path: Path, text: str, words: str):
    with pytest.raises(BadInput, match=words):
        read_meter(written(tmp_path, text))


def test_an_absent_file_is_one_line(tmp_path: Path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_meter(tmp_path / "none.csv")


def binary(
    folder: Path, values: list[float], *, first: int = 0xF1, rate: float = 1000.0, rest: bytes = b""
) -> Path:
    path = folder / "trace-energy.bin"
    path.write_bytes(bytes([first]) + struct.pack(f"<f{len(values)}f", rate, *values) + rest)
    return path


def test_the_binary_trace_of_mlperf_tiny(tmp_path: Path):
    file = read_meter(binary(tmp_path, [40.0, 42.0, 44.0]))
    assert file.form == "MLPerf Tiny"
    np.testing.assert_allclose(file.trace.times, [0, 0.001, 0.002])
    np.testing.assert_allclose(file.trace.watts, [0.040, 0.042, 0.044])


def test_a_binary_trace_that_was_cut_off_says_where(tmp_path: Path):
    path = binary(tmp_path, [40.0, float("nan"), 44.0], rest=b"\x00\x01")
    assert read_meter(path).faults == (
        f"{path}: the last 2 bytes are half a reading",
        f"{path}: reading 2 is no number",
    )


@pytest.mark.parametrize(
    ("first", "rate", "words"), [(0xF0, 1000.0, "is no MLPerf Tiny trace"), (0xF1, 0.0, "0 Hz")]
)
def test_another_binary_is_refused(tmp_path: Path, first: int, rate: float, words: str):
    with pytest.raises(BadInput, match=words):
        read_meter(binary(tmp_path, [1.0, 2.0, 3.0], first=first, rate=rate))


def test_windows_of_a_table_and_of_stamps(tmp_path: Path):
    path = written(tmp_path, "start,end,label,inferences\n0,10,idle,\n10.5,20.5,A,150\n\n21,31,B,\n")
    assert read_windows(path, inferences=7) == [
        Window(0, 10, "idle"),
        Window(10.5, 20.5, "A", 150),
        Window(21, 31, "B", 7),
    ]
    stamps = written(tmp_path, "[0.022, 2.782, 14.048, 15.923, 27.187]", "stamps.json")
    assert read_windows(stamps) == [Window(2.782, 14.048, "window 1"), Window(15.923, 27.187, "window 2")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from,to\n1,2\n", r":1 names no columns start and end"),
        ("start,end\n1,two\n", r":2 is broken"),
        ("start,end\n1\n", r":2 is broken"),
        ("start,end\n2,1\n", r":2 needs end after start"),
        ("start,end,inferences\n1,2,0\n", r":2 needs end after start and at least one inference"),
        ("start,end\n", "holds no window"),
        ("[3, 2, 1, 0]", "do not rise"),
        ('["a"]', "is no list of seconds"),
        ("", "names no columns"),
    ],
)
def test_broken_windows_are_refused_with_their_line(tmp_path: Path, text: str, words: str):
    with pytest.raises(BadInput, match=words):
        read_windows(written(tmp_path, text, "windows.csv"))
