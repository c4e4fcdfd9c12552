"""A bench meter read live from a terminal, a pipe and a connection: its energy, its faults, its end."""

from __future__ import annotations

import contextlib
import math
import os
import pty
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.profile.energy import window_energy
from edgekit.profile.sampler import Sampler
from edgekit.profile.trace import Window
from firmware_bridge.power import Ended, Unavailable, catalog, find_sensor
from firmware_bridge.power.meter_address import Address
from firmware_bridge.power.meter_line import LineReader, Sample
from firmware_bridge.power.meter_stream import MeterStream, Tally

Line = Callable[[float, float], str]  # of seconds since the meter was switched on, and watts
PERIOD = 1.7  # seconds of the load


def load(t: float) -> float:
    """Watts: 2 + 1.5 sin(2 pi t / 1.7)."""
    return 2 + 1.5 * math.sin(2 * math.pi * t / PERIOD)


def joules(t: float) -> float:
    """The integral of `load` from 0 on, up to a constant."""
    return 2 * t - 1.5 * PERIOD / (2 * math.pi) * math.cos(2 * math.pi * t / PERIOD)


def scaled(amperes: float) -> str:
    """As an LPM01A writes it: 640.9 microamperes are 6409-07."""
    exponent = math.floor(math.log10(amperes)) - 3
    return f"{round(amperes / 10**exponent):04d}{exponent:+03d}"


# form -> the lines at the beginning, a line, and the options in the sensor's name
FORMS: dict[str, tuple[str, Line, str]] = {
    "EmonLib": ("voltage,current\n", lambda t, w: f"3.300,{w / 3.3:.5f}", ""),
    "JS220": ("#time (s),current (A),voltage (V)\n", lambda t, w: f"{t:.6f},{w / 3.3:.6f},3.3", ""),
    "PPK2 app": (
        "Timestamp(ms),Current(uA),D0-D7\n",
        lambda t, w: f"{1e3 * t:.3f},{1e6 * w / 3.3:.1f},00000000",
        ",volts=3.3",
    ),
    "ppk2_api": ("timestamp,uA\n", lambda t, w: f"{t:.6f},{1e6 * w / 3.3:.1f}", ",volts=3.3"),
    "LPM01A": (
        "PowerShield > ack start\nTimeStamp: 000s 000ms, buff 00%\n",
        lambda t, w: scaled(w / 3.3),
        ",volts=3.3",
    ),
    "watts": ("", lambda t, w: f"{w:.5f}", ""),
    "milliwatts": ("", lambda t, w: f"{1e3 * w:.2f} mW", ""),
    "energy": ("time_s,energy_J\n", lambda t, w: f"{t:.6f},{joules(t):.7f}", ""),
    "no heading": ("", lambda t, w: f"{w / 3.3:.5f} {3.3}".replace(" ", ";"), ",columns=current_A+voltage_V"),
}


class Meter:
    """A thread that writes a line every 2 ms until it is stopped."""

    def __init__(self, write: Callable[[bytes], object], head: str, line: Line) -> None:
        self.write, self.head, self.line = write, head, line
        self.begun, self.done = time.monotonic(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            self.write(self.head.encode())
            while not self.done.wait(0.002):
                t = time.monotonic() - self.begun
                self.write((self.line(t, load(t)) + "\r\n").encode())

    def stop(self) -> None:
        self.done.set()
        self.thread.join()


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """The meter's end of a terminal, and the path of ours."""
    ours, theirs = pty.openpty()
    path = os.ttyname(theirs)
    yield ours, path
    for descriptor in (theirs, ours):
        with contextlib.suppress(OSError):
            os.close(descriptor)


@pytest.fixture
def opened() -> Iterator[Callable[[str], MeterStream]]:
    """Sensors that are closed after the test."""
    made: list[MeterStream] = []

    def find(name: str) -> MeterStream:
        made.append(find_sensor(name))  # type: ignore[arg-type]
        return made[-1]

    yield find
    for sensor in made:
        sensor.close()


@pytest.mark.parametrize("form", FORMS)
def test_a_meter_on_a_serial_port_has_the_energy_of_its_waveform(form: str, terminal, opened):
    descriptor, path = terminal
    head, line, options = FORMS[form]
    meter = Meter(lambda data: os.write(descriptor, data), head, line)
    try:
        sensor = opened(f"serial:{path}@115200{options}")
        with Sampler(sensor) as sampler:
            time.sleep(1.6)
    finally:
        meter.stop()
    trace = sampler.trace()
    start, end = float(trace.times[0]) + 0.1, float(trace.times[-1]) - 0.1
    seen = window_energy(trace, Window(start, end), period=sensor.period, quick=True)
    truth = joules(end - meter.begun) - joules(start - meter.begun)
    assert seen.joules == pytest.approx(truth, rel=0.02)
    assert "broken" not in sensor.note
    assert (sensor.name, sensor.scope, sampler.cost.failures) == (f"serial:{path}", "board", 0)


def test_the_port_is_set_raw_and_to_its_rate(terminal, opened):
    descriptor, path = terminal
    meter = Meter(lambda data: os.write(descriptor, data), "", FORMS["watts"][1])
    try:
        opened(f"serial:{path}@9600")
        settings = termios.tcgetattr(descriptor)
    finally:
        meter.stop()
    assert settings[4] == settings[5] == termios.B9600
    assert not settings[3] & (termios.ICANON | termios.ECHO)


def test_broken_lines_are_counted_and_left_out(terminal, opened):
    descriptor, path = terminal
    count = iter(range(10**6))

    def sometimes(t: float, w: float) -> str:
        index = next(count)
        return {7: "2.0,", 8: "overload", 9: "nan", 10: "x" * 9000}.get(index % 50, f"{w:.5f}")

    meter = Meter(lambda data: os.write(descriptor, data), "", sometimes)
    try:
        sensor = opened(f"serial:{path}")
        first = sensor.read()
        time.sleep(1.5)
        last = sensor.read()
    finally:
        meter.stop()
    start, end = (reading.time_ns / 1e9 - meter.begun for reading in (first, last))
    assert (last.joules or 0) - (first.joules or 0) == pytest.approx(joules(end) - joules(start), rel=0.03)
    broken, _, total = sensor.note.partition("; ")[2].split()[:3]
    assert 0.04 < int(broken) / int(total) < 0.13
    assert "lines broken, last '" in sensor.note


def test_a_silent_meter_and_one_that_vanishes_are_one_line_each(terminal, opened, monkeypatch):
    monkeypatch.setattr("firmware_bridge.power.meter_stream.SILENT", 0.3)
    descriptor, path = terminal
    meter = Meter(lambda data: os.write(descriptor, data), "", FORMS["watts"][1])
    sensor = opened(f"serial:{path}")
    sensor.period = 0.02
    with Sampler(sensor, interval=0.05) as sampler:
        time.sleep(0.6)
        meter.stop()
        time.sleep(1.0)
    assert "is silent, no reading for 0.3 s" in sampler.cost.failure
    trace = sampler.trace()
    assert np.isnan(trace.joules[-3:]).all()
    start = float(trace.times[0])
    names = {flag.name for flag in window_energy(trace, Window(start + 0.1, start + 1.3)).flags}
    assert "lost" in names
    os.close(descriptor)
    time.sleep(0.5)
    with pytest.raises(Unavailable, match=r"/dev/pts/\d+ has vanished .* Plug it in again"):
        sensor.read()


def test_a_pipe_is_read_and_its_end_said(tmp_path: Path, opened):
    pipe = tmp_path / "meter"
    os.mkfifo(pipe)

    def feed() -> None:
        with pipe.open("w", buffering=1) as file:
            for index in range(300):
                file.write(f"{index / 100:.2f},2.0\n" if index else "time (s),power (W)\n")
                time.sleep(0.002)

    feeding = threading.Thread(target=feed)
    feeding.start()
    sensor = opened(f"serial:{pipe}")
    feeding.join()
    time.sleep(0.3)
    assert sensor.read().joules == pytest.approx(2.98 * 2.0)  # by the meter's own clock, not by ours
    with pytest.raises(Ended, match="has ended: nobody writes to it"):
        sensor.read()


def test_standard_input_is_read():
    code = (
        "from firmware_bridge.power import find_sensor\nsensor = find_sensor('serial:-,unit=mW')\n"
        "print(sensor.name, sensor.read().joules > 0)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        with contextlib.suppress(BrokenPipeError):
            while process.poll() is None:
                process.stdin.write("12.5\n")
                process.stdin.flush()
                time.sleep(0.01)
        assert process.stdout.read() == "serial:- True\n"


def test_a_connection_is_read(opened):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                Meter(connection.sendall, *FORMS["EmonLib"][:2]).thread.join(0.8)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        sensor = opened(f"serial:tcp://127.0.0.1:{port},scope=wall")
        assert sensor.scope == "wall"
        assert sensor.read().joules > 0
        serving.join()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1.25", Sample(None, 1.25, None)),
        ("812 mW", Sample(None, 0.812, None)),
        ("+1.5e-1 W", Sample(None, 0.15, None)),
        ("6409-07", Sample(None, 640.9e-6 * 3.3, None)),
        ("250mA", Sample(None, 0.25 * 3.3, None)),
        ("3 uJ", Sample(None, None, 3e-6)),
        ("TimeStamp: 003s 245ms, buff 01%", None),
        ("PowerShield > ack freq 1k", None),
        ("", None),
    ],
)
def test_a_line_without_a_heading(line: str, said: Sample | None):
    seen = LineReader(volts=3.3).read(line)
    assert seen == (None if said is None else Sample(said.time, *(x and pytest.approx(x) for x in said[1:])))


def test_an_lpm01a_that_sends_energy_is_told_by_its_unit():
    assert LineReader(unit="J").read("6409-07") == Sample(None, None, pytest.approx(640.9e-6))


@pytest.mark.parametrize("line", ["6409-0", "64-07", "1,2", "overload", "5 V", "inf", "3.3 Hz"])
def test_a_broken_line_is_refused(line: str):
    with pytest.raises(ValueError):  # noqa: PT011
        LineReader(volts=3.3).read(line)


def test_a_counter_that_starts_anew_and_a_clock_that_jumps_add_no_energy():
    lines = LineReader(columns=("energy_J",))
    samples = []
    for word in ("10", "11", "0.5", "1.5"):
        with contextlib.suppress(ValueError):
            samples.append(lines.read(word))
    assert [sample.joules for sample in samples] == [0.0, 1.0, 1.0]
    tally = Tally(time_ns=0)
    for index, at in enumerate((5.0, 6.0, 1.0, 2.0, 900.0, 901.0), 1):
        tally.take([Sample(at, 2.0, None)], index * 10**9)
    assert (tally.joules, tally.broken) == (6.0, 2)


def test_late_arrivals_do_not_move_readings_of_a_meter_with_a_clock():
    chance, tally, off = np.random.default_rng(0), Tally(time_ns=10**9), []
    for index in range(1, 2000):
        taken, late = index * 0.02 * (1 + 5e-5), abs(chance.normal(0, 0.03))
        tally.take([Sample(index * 0.02, 2.0, None)], int(1e9 * (1 + taken + late)))
        off.append(tally.stamp_ns / 1e9 - 1 - taken)
    assert max(off[200:]) < 0.004
    assert min(off[200:]) > -1e-6
    assert tally.joules == pytest.approx(2.0 * 1998 * 0.02)


def test_lines_that_come_together_are_spread_over_the_time_they_took():
    tally = Tally(time_ns=0)
    tally.take([Sample(None, 1.0, None)], 10**9)
    tally.take([Sample(None, watts, None) for watts in (2.0, 3.0, 4.0, 5.0)], 5 * 10**9)
    assert tally.joules == 1.5 + 2.5 + 3.5 + 4.5


def test_the_name_is_taken_apart():
    name = "serial:/dev/ttyACM0@9600,volts=3.3,columns=voltage_V+current_mA,scope=module"
    assert Address.parse(name) == Address(
        "/dev/ttyACM0", 9600, 3.3, "", ("voltage_V", "current_mA"), "module"
    )
    assert Address.parse("serial:/dev/pts/3").baud is None
    assert Address.parse("serial:/dev/serial/by-id/usb-me@home").place == "/dev/serial/by-id/usb-me@home"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("serial:", "names no device. Write serial:/dev/ttyACM0@115200"),
        ("serial:/dev/ttyACM77", "/dev/ttyACM77 is not there"),
        ("serial:/dev/null@9600", "/dev/null is no serial device and has no baud rate. Leave out @9600"),
        ("serial:/dev/null,volt=3", "Did you mean 'volts'"),
        ("serial:/dev/null,volts=-1", "volts=-1 is no supply"),
        ("serial:/dev/null,unit=kg", "unit=kg is no unit"),
        ("serial:/dev/null,scope=bord", "Did you mean 'board'"),
        ("serial:/dev/null,columns=current_mA", "current and no voltage. Name the supply"),
        ("serial:/dev/null,columns=time_s+voltage_V", "tell no power"),
        ("serial:tcp://host", "names no host and port"),
        ("serial:tcp://127.0.0.1:9", "does not answer"),
        (f"serial:{__file__}", "is a file, not a live meter. Run: edgekit power integrate"),
    ],
)
def test_a_name_that_cannot_be_opened_is_one_line(name: str, words: str):
    with pytest.raises(BadInput) as error:
        find_sensor(name)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_rate_that_no_port_has_is_refused_with_those_it_has(terminal):
    with pytest.raises(BadInput, match=r"cannot be set to 12345 baud\. Known: .*9600, .*115200"):
        find_sensor(f"serial:{terminal[1]}@12345")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "sends nothing in 0.5 s"),
        (b"\x1b[2J\xffhello\n" * 20, "sends '?[2J\ufffdhello', which is no reading"),
        (b"6409-07\n", "volts=3.3"),
    ],
)
def test_a_meter_that_tells_nothing_is_one_line_with_what_to_do(
    terminal, monkeypatch, text: bytes, words: str
):
    monkeypatch.setattr("firmware_bridge.power.meter_stream.WAIT", 0.5)
    descriptor, path = terminal
    os.write(descriptor, text)
    with pytest.raises(BadInput) as error:
        find_sensor(f"serial:{path}")
    assert words in str(error.value)


def test_permission_denied_names_the_group_and_the_rule(terminal, tmp_path: Path):
    """Opened by a user who is not root."""
    os.chmod(terminal[1], 0o600)
    code = (
        "import os, sys\nfrom firmware_bridge.power import find_sensor\n"
        "if os.geteuid() == 0: os.seteuid(65534)\nelse: os.chmod(sys.argv[1], 0)\n"
        "try: find_sensor('serial:' + sys.argv[1])\nexcept Exception as error: print(error)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, terminal[1]], capture_output=True, text=True, check=True
    ).stdout
    assert out.count("\n") == 1
    assert "may not be read by this user" in out
    assert "sudo usermod -aG" in out
    assert "/etc/udev/rules.d/71-meter.rules" in out
    assert 'SUBSYSTEM=="tty"' in out


def test_the_catalog_says_that_a_meter_is_named_and_which_ports_are_here(tree):
    entry = next(entry for entry in catalog(tree({"dev/ttyUSB0": ""})) if entry.kind == "serial")
    assert entry.sensor is None
    assert "edgekit power watch serial:/dev/ttyUSB0" in entry.reason
