"""`edgekit power`: what it prints, and its exit codes."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest

from edgekit import cli
from edgekit.cli import power
from tests.firmware_bridge.power.test_ina3221 import ORIN_NANO
from tests.firmware_bridge.power.test_rapl import LAPTOP
from tests.paths import shared


@pytest.fixture(autouse=True)
def _verb(monkeypatch):
    monkeypatch.setitem(cli.VERBS, "power", ("power", "power sensors, a live line, the energy in a trace"))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Twelve seconds at 0.2 W, 12 at 0.5 W, 12 at 0.2 W, every 10 ms."""
    path = tmp_path / "trace.csv"
    lines = (f"{n / 100:.2f},{0.5 if 1200 <= n < 2400 else 0.2 + n % 7 * 1e-5}" for n in range(3601))
    path.write_text("time (s),power (W)\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def windows(tmp_path: Path) -> Path:
    path = tmp_path / "windows.csv"
    path.write_text("start,end,label,inferences\n1,11,idle,\n13,23,net,50\n25,35,idle,\n")
    return path


def run(words: list[object]) -> int:
    return cli.main(["power", *map(str, words)])


def test_list_says_what_is_here_and_why_the_rest_is_not(tree, monkeypatch, capsys):
    monkeypatch.setattr(power, "ROOT", tree(ORIN_NANO))
    assert run(["list"]) == 0
    out = capsys.readouterr().out
    assert "ina3221 VDD_IN" in out
    assert "this is no Raspberry Pi 5" in out
    assert run(["list", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in said["sensors"] if item["name"]] == ["ina3221 VDD_IN"]
    assert said["state"]["unknown"]["power_mode"]


def test_list_without_a_sensor_says_not_measured(tree, monkeypatch, capsys):
    monkeypatch.setattr(power, "ROOT", tree({}))
    assert run(["list"]) == 0
    assert "energy is not measured" in capsys.readouterr().out


@pytest.mark.parametrize(("files", "watts"), [(ORIN_NANO, "6.096 W"), (LAPTOP, "0.000 W")])
def test_watch_draws_a_line_a_reading(tree, monkeypatch, capsys, files, watts: str):
    monkeypatch.setattr(power, "ROOT", tree(files))
    assert run(["watch", "--seconds", "0.3", "--every", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Ctrl-C ends it" in lines[0]
    assert len(lines) >= 3
    assert all(watts in line for line in lines[1:])


def test_watch_without_a_sensor_is_one_line(tree, monkeypatch, capsys):
    monkeypatch.setattr(power, "ROOT", tree({}))
    assert run(["watch"]) == 2
    assert capsys.readouterr().err.startswith("edgekit: power: no sensor can be read here. ")


def test_the_live_line():
    assert doctest.testmod(power).failed == 0
    assert power.line([0.0, 0.0]).startswith("   0.000 W")


def test_integrate_gives_gross_and_net(trace, windows, capsys):
    assert run(["integrate", trace, "--windows", windows, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["gross"]["joules_per_inference"] == pytest.approx(0.1)
    assert said["net"]["joules_per_inference"] == pytest.approx(0.06, rel=1e-3)
    assert said["gross"]["ci95"] is None
    assert said["scope"] == "board"
    assert said["method"].startswith("trapezoid")
    assert run(["integrate", trace, "--windows", windows]) == 0
    out = capsys.readouterr().out
    assert "gross: 100 mJ (one window: no interval) per inference" in out
    assert "net: 59.99" in out
    assert "flag: frozen" in out


def test_integrate_without_windows_takes_the_whole_trace(trace, capsys):
    assert run(["integrate", trace, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["joules_per_window"] == pytest.approx(12 * 0.9, rel=1e-3)
    assert said["net"] is None


def test_a_window_past_the_end_is_exit_1_and_named(trace, windows, capsys):
    windows.write_text(windows.read_text() + "36,60,net,50\n")
    assert run(["integrate", trace, "--windows", windows]) == 1
    assert "flag: lost: 1 of 2 windows have no energy" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["integrate"], ["sum"], [], ["watch", "--seconds", "0"]])
def test_wrong_words_are_one_line(words: list[str], capsys):
    assert run(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_measured_trace_reads_as_published(capsys):
    base = shared("energy")
    name = "NUCLEO_L4R5ZI_kws_trace1"
    words = [
        base / f"{name}-energy.bin",
        "--windows",
        base / f"{name}-timestamps.json",
        "--inferences",
        "150",
    ]
    assert run(["integrate", *words]) == 0
    assert "gross: 3.371" in capsys.readouterr().out
