"""`edgekit power`: what it prints, and its exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from edgekit import cli
from edgekit.cli import power
from firmware_bridge.power import Reading, Unavailable
from tests.firmware_bridge.power.test_ina3221 import ORIN_NANO
from tests.firmware_bridge.power.test_rapl import LAPTOP
from tests.paths import shared


@pytest.fixture(autouse=True)
def _verb(monkeypatch):
    monkeypatch.setitem(cli.VERBS, "power", ("power", "power sensors, a live curve, the energy in a trace"))


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


@pytest.mark.parametrize(("files", "watts"), [(ORIN_NANO, "6.096 W"), (LAPTOP, "0 W")])
def test_watch_says_a_line_a_reading(tree, monkeypatch, capsys, files, watts: str):
    monkeypatch.setattr(power, "ROOT", tree(files))
    assert run(["watch", "--seconds", "0.5", "--every", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Ctrl-C ends it" in lines[0]
    assert len(lines) >= 4
    assert all(line.startswith(f"{watts}  mean {watts}") for line in lines[1:-1])
    assert f"least {watts}, most {watts}" in lines[-1]


def test_watch_keeps_readings_that_integrate_reads(tree, monkeypatch, capsys, tmp_path: Path):
    monkeypatch.setattr(power, "ROOT", tree(ORIN_NANO))
    out = tmp_path / "kept.csv"
    assert run(["watch", "--seconds", "0.5", "--every", "0.05", "--out", out]) == 0
    assert f"edgekit power integrate {out}" in capsys.readouterr().out
    assert run(["integrate", out, "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    window = seen["windows"][0]["window"]
    assert seen["joules_per_window"] == pytest.approx(5.08 * 1.2 * (window["end"] - window["start"]))
    assert run(["watch", "--seconds", "0.1", "--out", out]) == 2
    assert "is there already. Name another --out" in capsys.readouterr().err


class Counting:
    """A counter of 5 W that starts again every 2 J, and vanishes after ten readings."""

    name, scope, period, wrap, note = "fake", "cpu", 0.01, 2.0, "nothing"

    def __init__(self) -> None:
        self.readings = 0

    def read(self) -> Reading:
        self.readings += 1
        if self.readings > 10:
            raise Unavailable("fake: has vanished. Plug it in again.")
        return Reading(10**8 * self.readings, None, 0.5 * self.readings % 2.0)


def test_watch_counts_on_over_a_wrap_and_keeps_what_it_read_of_a_sensor_that_vanishes(
    monkeypatch, capsys, tmp_path: Path
):
    monkeypatch.setattr("firmware_bridge.power.find_sensor", lambda name, root: Counting())
    out = tmp_path / "kept.csv"
    assert run(["watch", "--every", "0.01", "--out", out]) == 2
    said = capsys.readouterr()
    assert said.err == "edgekit: fake: has vanished. Plug it in again.\n"
    assert "10 readings: 5 W  mean 5 W  4.5 J in 0.9 s" in said.out
    assert out.read_text().splitlines()[-1] == "0.900000,4.5"


def test_watch_reads_a_meter_until_its_end():
    feed = "import time\nfor n in range(80): print(2 + n % 2 * 2, flush=True); time.sleep(0.01)"
    meter = subprocess.Popen([sys.executable, "-c", feed], stdout=subprocess.PIPE)
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", "power", "watch", "serial:-", "--every", "0.1"],
        stdin=meter.stdout, capture_output=True, text=True,
    )  # fmt: skip
    meter.stdout.close()
    meter.wait()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("serial:- (board): a bench meter's lines")
    assert re.search(r"readings: .* mean (2\.9|3|3\.0)\d* W", done.stdout)


def test_watch_on_a_terminal_draws_a_curve_with_its_axes(tree):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (30, 90)) if hasattr(termios, "tcsetwinsize") else None
    code = (
        "import sys\nfrom pathlib import Path\nfrom edgekit import cli\nfrom edgekit.cli import power\n"
        "power.ROOT = Path(sys.argv[1])\nsys.exit(cli.main(['power', 'watch', '--seconds', '1', '--every', '0.05']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tree(ORIN_NANO))], stdout=theirs, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while more := os.read(ours, 65_536):
                said += more
    os.close(ours)
    text = said.decode()
    assert process.returncode == 0
    assert "└───" in text
    assert "now" in text
    assert any("\u2801" <= letter <= "\u28ff" for letter in text)
    assert re.search(r"6\.096 W  mean 6\.096 W  [\d.]+ J in [\d.]+ s", text)


def test_watch_without_a_sensor_is_one_line(tree, monkeypatch, capsys):
    monkeypatch.setattr(power, "ROOT", tree({}))
    assert run(["watch"]) == 2
    assert capsys.readouterr().err.startswith("edgekit: power: no sensor can be read here. ")


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
