"""A bench meter read live, line by line: serial:/dev/ttyACM0@115200, serial:PIPE, serial:-, serial:tcp://HOST:PORT.

The meter must be sending. An LPM01A is started from a shell, after which it sends until told to stop:
printf 'htc\\r\\nvolt 3300m\\r\\nfreq 1k\\r\\nacqtime inf\\r\\nstart\\r\\n' > /dev/ttyACM0
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgekit.errors import BadInput
from firmware_bridge.power.meter_address import PREFIX, Address
from firmware_bridge.power.meter_line import FORMS, LineReader, Sample
from firmware_bridge.power.port import Port, devices
from firmware_bridge.power.sensor import Reading, Unavailable

WAIT: Final = 5.0  # seconds for the first lines
SETTLE: Final = 0.3  # seconds of them that tell how often they come
SILENT: Final = 2.0  # seconds without a line, or ten periods where that is longer
GATHER: Final = 0.02  # seconds of lines that are read at once: a wake-up a line would cost a core at 10 kHz
DRIFT: Final = 2e-4  # seconds a second; a crystal keeps within 1e-4
LONGEST: Final = 4096  # bytes; a longer line is noise


@dataclass
class Tally:
    """What has come so far: joules by the trapezoid of every line, lines, broken lines, and when (nanoseconds)."""

    joules: float = 0.0
    lines: int = 0
    broken: int = 0
    last_broken: str = ""
    blocks: int = 0
    first_ns: int = 0
    time_ns: int = field(default_factory=time.monotonic_ns)
    watts: float | None = None
    meter_time: float | None = None
    offset: float = math.inf  # seconds from the meter's clock to ours

    def take(self, samples: list[Sample], now_ns: int) -> None:
        """Samples that arrived together; where the meter has no clock they are spread since the ones before."""
        if not samples:
            return
        passed = (now_ns - self.time_ns) / 1e9
        for sample in samples:
            self._add(sample, passed, len(samples))
        if self.meter_time is not None:
            # the quickest arrival tells most; an older one is believed less and less, since clocks drift
            self.offset = min(self.offset + DRIFT * passed, now_ns / 1e9 - self.meter_time)
        self.lines += len(samples)
        self.blocks += 1
        self.time_ns, self.first_ns = now_ns, self.first_ns or now_ns

    def refuse(self, line: str) -> None:
        """A line that says nothing."""
        shown = "".join(letter if letter.isprintable() else "?" for letter in line[:40])
        self.broken, self.last_broken = self.broken + 1, shown

    @property
    def stamp_ns(self) -> int:
        """When the last reading was taken: by the meter's clock set to ours, else when it arrived."""
        if self.meter_time is None:
            return self.time_ns
        return int((self.meter_time + self.offset) * 1e9)

    def _add(self, sample: Sample, passed: float, count: int) -> None:
        step = passed / count if sample.time is None else self._step(sample.time, passed)
        if sample.joules is not None:
            self.joules += sample.joules
        elif sample.watts is not None and self.watts is not None:
            self.joules += 0.5 * (self.watts + sample.watts) * step
        self.watts = sample.watts

    def _step(self, meter_time: float, passed: float) -> float:
        """Seconds by the meter's clock; where it jumps, what lies between adds no energy."""
        step = 0.0 if self.meter_time is None else meter_time - self.meter_time
        self.meter_time = meter_time
        if not 0 <= step <= passed + SILENT:
            self.refuse(f"a clock that jumps by {step:g} s")
            self.watts, self.offset = None, math.inf
        return step


class MeterStream:
    """A meter that sends lines, as a counter of joules: every line counts, however seldom `read` is called.

    A thread reads the lines; a broken one is left out and counted in `note`. `read` waits for the next lines.
    """

    wrap: float | None = None

    def __init__(self, name: str) -> None:
        asked = Address.parse(name)
        self.name, self.scope = PREFIX + asked.place, asked.scope
        self._lines = LineReader(volts=asked.volts, unit=asked.unit, columns=asked.columns)
        self._port = Port(asked.place, asked.baud)
        self._tally, self._seen, self._rate, self.note = Tally(), 0, 0.0, ""
        self._end: BadInput | None = None
        self._news, self._closed = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()
        try:
            self.period, self._rate = self._settled()
        except BadInput:
            self.close()
            raise
        self.note = self._said()

    def _said(self) -> str:
        """How often lines come, and how many were broken."""
        seen, said = self._tally, f"a bench meter's lines, {self._rate:.3g} a second"
        if seen.broken:
            said += f"; {seen.broken} of {seen.lines + seen.broken} lines broken, last '{seen.last_broken}'"
        return said

    def read(self) -> Reading:
        """Joules since the stream was opened; `Unavailable` once it is silent or gone."""
        limit = max(SILENT, 10 * self.period)
        with self._news:
            waited = (time.monotonic_ns() - self._tally.time_ns) / 1e9
            self._news.wait_for(self._has_news, max(limit - waited, 0.0))
            if self._tally.blocks > self._seen:
                self._seen = self._tally.blocks
                return Reading(self._tally.stamp_ns, None, self._tally.joules)
            if self._end is not None:
                raise self._end.with_traceback(None)
        raise Unavailable(
            f"serial: {self._port.place} is silent, no reading for {limit:.3g} s. Is the meter still sending?"
        )

    def close(self) -> None:
        """Stop reading and give the port back."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._port.close()

    def _settled(self) -> tuple[float, float]:
        """Seconds from one block of lines to the next, and lines a second; `Unavailable` without a reading."""
        with self._news:
            self._news.wait_for(lambda: self._end is not None or self._told(), WAIT)
            seen = self._tally
            if not seen.blocks:
                raise self._end or self._nothing()
            seconds = (seen.time_ns - seen.first_ns) / 1e9
            if seen.blocks < 3 or not seconds:
                return WAIT, seen.lines / WAIT
            return max(seconds / (seen.blocks - 1), GATHER), seen.lines / seconds

    def _has_news(self) -> bool:
        return self._tally.blocks > self._seen or self._end is not None

    def _told(self) -> bool:
        seen = self._tally
        return seen.blocks >= 3 and seen.time_ns - seen.first_ns >= SETTLE * 1e9

    def _nothing(self) -> Unavailable:
        if self._tally.broken:
            return Unavailable(
                f"serial: {self._port.place} sends '{self._tally.last_broken}', which is no reading. Known: {FORMS}; a "
                "heading that was missed is named by ,columns=voltage_V+current_mA; a wrong baud rate garbles too."
            )
        return Unavailable(
            f"serial: {self._port.place} sends nothing in {WAIT:g} s. Start the meter's stream "
            "(LPM01A: start), and check the baud rate."
        )

    def _run(self) -> None:
        rest = b""
        while not self._closed.is_set():
            try:
                found = self._port.read(0.1)
                if found is not None:
                    *whole, rest = (rest + found).split(b"\n")
                    rest = self._take(whole, rest)
                    self._closed.wait(GATHER)
            except BadInput as error:
                with self._news:
                    self._end = error
                    self._news.notify_all()
                return

    def _take(self, lines: list[bytes], rest: bytes) -> bytes:
        """Count what came; the beginning of the next line is kept, unless it is too long to be one."""
        now = time.monotonic_ns()
        with self._news:
            self._tally.take([sample for line in lines if (sample := self._sample(line))], now)
            if len(rest) > LONGEST:
                self._tally.refuse(rest.decode("ascii", "replace"))
                rest = b""
            self.note = self._said()
            self._news.notify_all()
        return rest

    def _sample(self, line: bytes) -> Sample | None:
        said = line.decode("utf-8", "replace").strip("\r\0")
        try:
            return self._lines.read(said)
        except ValueError:
            self._tally.refuse(said)
            return None


def find(root: Path = Path("/")) -> list[MeterStream]:
    """None by itself: opening a port can reset the board behind it, so a meter is named."""
    here = devices(root)
    raise Unavailable(
        "serial: a bench meter is read where it is named: edgekit power watch "
        f"serial:{here[0] if here else '/dev/ttyACM0'} (here: {', '.join(here) or 'no serial device'})"
    )
