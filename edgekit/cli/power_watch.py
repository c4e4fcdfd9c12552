"""`edgekit power watch`: a sensor's watts as they come, the energy so far, and its readings in a file."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from edgekit.cli.console import say
from edgekit.cli.power_plot import MARGIN, Point, plot
from edgekit.errors import BadInput

if TYPE_CHECKING:
    from firmware_bridge.power import PowerSensor, Reading

EVERY: Final = 0.1  # seconds between readings, or the sensor's period
SHOWN: Final = 0.5  # seconds between pictures or lines
WIDTH: Final = 100  # letters of the picture at most
Show = Callable[["Watched", float], None]  # what was read, and seconds from one reading to the next


def watch_words(parser: argparse.ArgumentParser, *, positive: Any) -> None:
    """The words of `edgekit power watch`."""
    parser.add_argument(
        "sensor",
        nargs="?",
        help="a name or kind of edgekit power list (what covers most), or a bench meter: "
        "serial:/dev/ttyACM0[@115200][,volts=3.3]",
    )
    parser.add_argument("--seconds", type=positive, metavar="S", help="stop after this long")
    parser.add_argument(
        "--every", type=positive, metavar="S", help="seconds between readings (0.1, or the period)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE.csv", help="keep the readings for edgekit power integrate"
    )


def watch(options: argparse.Namespace) -> int:
    """Show a sensor until the time is over, Ctrl-C or its end."""
    from firmware_bridge.power import Ended, find_sensor

    sensor, lost = find_sensor(options.sensor, options.root), None
    note = sensor.note
    say(f"{sensor.name} ({sensor.scope}): {note}  Ctrl-C ends it")
    every = options.every or max(EVERY, sensor.period)
    with _kept(options.out) as file, _picture() as show:
        watched = Watched(sensor, file)
        try:
            _until(watched, options.seconds, every, options.every or max(SHOWN, every), show)
        except KeyboardInterrupt:
            pass
        except BadInput as error:
            lost = error
    say(*_summary(watched, note, options.out))
    if lost is not None and not isinstance(lost, Ended):
        raise lost
    return 0


class Watched:
    """What a sensor has told since the first reading: its curve, joules, and seconds."""

    def __init__(self, sensor: PowerSensor, file: TextIO | None = None) -> None:
        self.sensor, self.file = sensor, file
        self.first = self.last = sensor.read()
        self.counts = self.first.joules is not None
        self.points: deque[Point] = deque(maxlen=4 * WIDTH)
        self.joules, self.readings = 0.0, 1
        self.least, self.most = math.inf, -math.inf
        self._keep(f"time (s),{'energy (J)' if self.counts else 'power (W)'}")
        self._keep_reading(self.first)

    def read(self) -> None:
        """Take the next reading in; the trapezoid, or a counter's difference with its wrap."""
        now = self.sensor.read()
        seconds = (now.time_ns - self.last.time_ns) / 1e9
        if seconds <= 0:
            return
        joules = self._joules(now, seconds)
        watts = joules / seconds if now.watts is None else now.watts
        self.joules, self.readings, self.last = self.joules + joules, self.readings + 1, now
        self.least, self.most = min(self.least, watts), max(self.most, watts)
        self.points.append((self.seconds, watts))
        self._keep_reading(now)

    @property
    def seconds(self) -> float:
        """From the first reading to the last."""
        return (self.last.time_ns - self.first.time_ns) / 1e9

    def line(self) -> str:
        """The last watts, their mean, and the joules so far."""
        if not self.points:
            return "no second reading yet"
        mean = self.joules / self.seconds
        return f"{self.points[-1][1]:.4g} W  mean {mean:.4g} W  {self.joules:.4g} J in {self.seconds:.1f} s"

    def _joules(self, now: Reading, seconds: float) -> float:
        if now.joules is None or self.last.joules is None:
            return 0.5 * ((now.watts or 0.0) + (self.last.watts or 0.0)) * seconds
        step = now.joules - self.last.joules
        return step + (self.sensor.wrap or 0.0) if step < 0 else step

    def _keep_reading(self, reading: Reading) -> None:
        value = self.joules if self.counts else reading.watts
        self._keep(f"{(reading.time_ns - self.first.time_ns) / 1e9:.6f},{value:.9g}")

    def _keep(self, line: str) -> None:
        if self.file is not None:
            self.file.write(line + "\n")


def _until(watched: Watched, seconds: float | None, every: float, shown: float, show: Show) -> None:
    """Read, and show what was read, until the time is over."""
    begun = drawn = time.monotonic()
    while seconds is None or time.monotonic() - begun < seconds:
        time.sleep(every)
        watched.read()
        if time.monotonic() - drawn >= 0.9 * shown:
            drawn = time.monotonic()
            show(watched, every)


def _summary(watched: Watched, note: str, out: Path | None) -> list[str]:
    lines = []
    if watched.points:
        lines.append(
            f"{watched.readings} readings: {watched.line()}, least {watched.least:.4g} W, most {watched.most:.4g} W"
        )
    if watched.sensor.note != note:
        lines.append(f"{watched.sensor.name}: {watched.sensor.note}")
    if out is not None:
        lines.append(f"made: {out}  (edgekit power integrate {out})")
    return lines


@contextmanager
def _kept(out: Path | None) -> Iterator[TextIO | None]:
    """The file of the readings, written line by line, so that what was read outlives this process."""
    if out is None:
        yield None
        return
    try:
        file = out.open("x", encoding="utf-8", buffering=1)
    except FileExistsError as error:
        raise BadInput(f"power: {out} is there already. Name another --out, or remove it.") from error
    except OSError as error:
        raise BadInput(f"power: {out} cannot be written ({error.strerror}). Name another --out.") from error
    with file:
        yield file


@contextmanager
def _picture() -> Iterator[Show]:
    """How to show what was read: a curve that is drawn anew on a terminal, a plain line elsewhere."""
    if not sys.stdout.isatty():
        yield lambda watched, every: say(watched.line())
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(console=console, auto_refresh=False) as live:

        def draw(watched: Watched, every: float) -> None:
            width = min(console.width - 1, WIDTH)
            rows = plot(list(watched.points), width=width, seconds=2 * (width - MARGIN - 2) * every)
            live.update(Text("\n".join([watched.line(), *rows]), no_wrap=True), refresh=True)

        yield draw
