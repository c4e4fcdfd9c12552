"""What one line of a live meter says: CSV after its heading, a number with or without a unit, or LPM01A's."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from edgekit.errors import BadInput
from firmware_bridge.power.meter_columns import Column, columns_of, to_number, unit_of

SCALED: Final = re.compile(r"(\d{4})([+-]\d{2})")  # LPM01A: 6409-07 is 6409e-07
NUMBER: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-zA-Zµμ]*)")
# what an LPM01A tells between its readings
REMARKS: Final = ("PowerShield", "TimeStamp", "ack ", "event ", "summary", "end", "Acquisition", "info")
FORMS: Final = (
    "a heading such as voltage (V),current (mA) and lines of numbers, watts alone, or LPM01A's 6409-07"
)


class Sample(NamedTuple):
    """A line's reading: watts, or joules since the line before; seconds of the meter's clock where it has one."""

    time: float | None
    watts: float | None
    joules: float | None


class LineReader:
    """Reads lines one after the other, and remembers the heading.

    volts: the supply, for meters of current. unit: what a number alone is in (W; A for LPM01A; J is energy since
    the line before, LPM01A's `output energy`). columns: the headings, where the stream is joined after them.
    """

    def __init__(self, *, volts: float | None = None, unit: str = "", columns: Sequence[str] = ()) -> None:
        self.volts = volts
        self.columns = columns_of(columns)
        self.kind, self.unit = unit_of(unit) if unit else ("", 1.0)
        self._counter: float | None = None
        self._check()

    def read(self, line: str) -> Sample | None:
        """The reading, None for a heading or a remark; ValueError for a broken line, BadInput without a supply."""
        line = line.strip()
        if not line or line.startswith(REMARKS):
            return None
        if scaled := SCALED.fullmatch(line):
            return self._alone(float(f"{scaled[1]}e{scaled[2]}"), self.kind or "current", self.unit)
        words = [word.strip().strip('"#').strip() for word in re.split(r"[,;\t]", line)]
        if not line[0].isdigit() and len(words) > 1 and (found := columns_of(words)):
            self.columns = found
            self._check()
            return None
        if self.columns:
            return self._row(words)
        return self._number(line)

    def _row(self, words: list[str]) -> Sample:
        found = {kind: _finite(words[column.index]) * column.unit for kind, column in self._placed(words)}
        time = found.get("time")
        if "power" in found:
            return Sample(time, found["power"], None)
        if "current" in found:
            return Sample(time, found["current"] * found.get("voltage", self.volts or math.nan), None)
        return Sample(time, None, self._since(found["energy"]))

    def _placed(self, words: list[str]) -> list[tuple[str, Column]]:
        if len(words) <= max(column.index for column in self.columns.values()):
            raise ValueError("a line with too few columns")
        return list(self.columns.items())

    def _number(self, line: str) -> Sample:
        parts = NUMBER.fullmatch(line)
        if not parts:
            raise ValueError("no form that is known")
        if not parts[2]:
            return self._alone(_finite(parts[1]), self.kind or "power", self.unit)
        kind, unit = unit_of(parts[2])
        return self._alone(_finite(parts[1]), kind, unit)

    def _alone(self, value: float, kind: str, unit: float) -> Sample:
        if kind == "power":
            return Sample(None, value * unit, None)
        if kind == "energy":
            return Sample(None, None, value * unit)
        if kind != "current":
            raise ValueError("a number that is no power, current or energy")
        if self.volts is None:
            raise _no_supply()
        return Sample(None, value * unit * self.volts, None)

    def _since(self, counter: float) -> float:
        """Joules since the line before; a counter that starts anew begins again here."""
        before, self._counter = self._counter, counter
        if before is not None and counter < before:
            raise ValueError("a counter that went back")
        return 0.0 if before is None else counter - before

    def _check(self) -> None:
        kinds = set(self.columns)
        if not kinds or kinds & {"power", "energy"} or {"voltage", "current"} <= kinds:
            return
        if "current" not in kinds:
            raise BadInput(f"serial: the columns {', '.join(kinds)} tell no power. Needed: {FORMS}.")
        if self.volts is None:
            raise _no_supply()


def _no_supply() -> BadInput:
    return BadInput(
        "serial: the meter tells current and no voltage. Name the supply: serial:/dev/ttyACM0,volts=3.3"
    )


def _finite(word: str) -> float:
    value = to_number(word)
    if not math.isfinite(value):
        raise ValueError("no number")
    return value
