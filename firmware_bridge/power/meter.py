"""Bench meters by their files: CSV of EMON, JS220, PPK2 and LPM01A, and the binary trace of MLPerf Tiny."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgekit.errors import BadInput
from edgekit.profile.trace import Trace
from firmware_bridge.power.meter_columns import FORM, Column, columns_of, to_number
from firmware_bridge.power.sensor import Scope

GAP: Final = 3.5  # intervals without a reading
BROKEN: Final = 0.01  # share of lines above which a file is refused
MAGIC: Final = 0xF1


@dataclass(frozen=True)
class MeterFile:
    """A meter's trace, its form, and each fault found in it as FILE:LINE: what."""

    trace: Trace
    form: str
    faults: tuple[str, ...]


def read_meter(path: Path, *, volts: float | None = None, scope: Scope = "board") -> MeterFile:
    """A meter's file; `volts` is the supply where only current was measured (PPK2 in ampere mode).

    Broken lines and gaps are faults, each with its place; BadInput where over 1 % of the lines are broken or
    the form is unknown.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"meter: {path} cannot be read ({error.strerror}). Check the path.") from error
    if data[:1] == bytes([MAGIC]) or path.suffix == ".bin":
        return _mlperf(path, data, scope)
    return _csv(path, data.decode("utf-8-sig", errors="replace"), volts, scope)


def _mlperf(path: Path, data: bytes, scope: Scope) -> MeterFile:
    """Byte 0xF1, float32 rate in Hz, float32 powers in mW, little-endian; reading i is at i / rate."""
    if data[:1] != bytes([MAGIC]) or len(data) < 13:
        raise BadInput(f"meter: {path} is no MLPerf Tiny trace (byte 0xF1, float32 Hz, float32 mW ...).")
    rate = float(np.frombuffer(data, "<f4", 1, 1)[0])
    if not 0 < rate < 1e9:
        raise BadInput(f"meter: {path} names a rate of {rate:g} Hz. Record it again.")
    count, rest = divmod(len(data) - 5, 4)
    watts = np.frombuffer(data, "<f4", count, 5).astype(np.float64) / 1e3
    faults = [f"{path}: the last {rest} bytes are half a reading"] if rest else []
    bad = np.flatnonzero(~np.isfinite(watts))
    faults += [f"{path}: reading {index + 1} is no number" for index in bad[:10]]
    trace = Trace(np.arange(count) / rate, np.where(np.isfinite(watts), watts, np.nan), interval=1 / rate,
                  sensor=path.name, scope=scope)  # fmt: skip
    return MeterFile(trace, "MLPerf Tiny", tuple(faults))


def _csv(path: Path, text: str, volts: float | None, scope: Scope) -> MeterFile:
    first, header, separator = _header(path, text)
    columns = columns_of(header)
    _check(path, first, columns, volts)
    body = text.splitlines()[first:]
    table, lines, faults = _table(path, body, first + 1, columns, separator)
    rising = _rising(table[:, 0])
    faults += [f"{path}:{line}: time does not rise" for line in lines[~rising][:10]]
    _refuse_broken(path, len(body), len(faults), faults)
    table, lines = table[rising], lines[rising]
    if len(table) < 2:
        raise BadInput(f"meter: {path} holds fewer than two readings. Record for longer.")
    faults += _gaps(path, table[:, 0], lines)
    trace = _trace(table, columns, volts, path.name, scope)
    return MeterFile(trace, _form(header, separator), tuple(faults))


def _header(path: Path, text: str) -> tuple[int, list[str], str]:
    """The number of the line that names the columns, its words, and what separates them."""
    for index, line in enumerate(text.splitlines()[:50], 1):
        for separator in (",", ";", "\t"):
            words = [word.strip().strip('"#').strip() for word in line.split(separator)]
            if len(words) > 1 and "time" in columns_of(words):
                return index, words, separator
    raise BadInput(f"meter: {path}:1 names no columns of time and power. {FORM}")


def _check(path: Path, line: int, columns: dict[str, Column], volts: float | None) -> None:
    kinds = set(columns)
    if kinds & {"power", "energy"} or {"voltage", "current"} <= kinds:
        return
    if "current" in kinds:
        if volts is None:
            raise BadInput(f"meter: {path}:{line} has current and no voltage. Name the supply: --volts 3.3")
        return
    raise BadInput(f"meter: {path}:{line} names no power, energy, or voltage and current. {FORM}")


def _table(
    path: Path, body: list[str], first: int, columns: dict[str, Column], separator: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Numbers [n, columns] with time first, the line of each [n], and the broken lines."""
    wanted = sorted(columns.values(), key=lambda column: column.kind != "time")
    places = [column.index for column in wanted]
    units = np.array([column.unit for column in wanted])
    quick = _quick(body, places, separator)
    if quick is not None:
        return quick * units, np.arange(first, first + len(body)), []
    rows, lines, faults = [], [], []
    for line, row in enumerate(csv.reader(body, delimiter=separator), first):
        if not any(word.strip() for word in row):
            continue
        values = _values(row, places)
        if values is None:
            faults.append(f"{path}:{line}: broken line '{separator.join(row)[:40]}'")
        else:
            rows.append(values)
            lines.append(line)
    return np.array(rows, np.float64).reshape(-1, len(places)) * units, np.array(lines, int), faults


def _quick(body: list[str], places: list[int], separator: str) -> np.ndarray | None:
    """The whole table at once where every line is sound."""
    try:
        table = np.loadtxt(
            io.StringIO("\n".join(body)), delimiter=separator, usecols=places, comments=None, ndmin=2
        )
    except (ValueError, IndexError):
        return None
    return table if len(table) == len(body) and np.isfinite(table).all() else None


def _values(row: list[str], places: list[int]) -> list[float] | None:
    try:
        values = [to_number(row[place]) for place in places]
    except (ValueError, IndexError):
        return None
    return values if np.isfinite(values).all() else None


def _rising(times: np.ndarray) -> np.ndarray:
    """Which readings are later than all before them."""
    if len(times) == 0:
        return np.zeros(0, bool)
    latest = np.maximum.accumulate(times)
    return np.concatenate(([True], times[1:] > latest[:-1]))


def _refuse_broken(path: Path, lines: int, count: int, faults: list[str]) -> None:
    if count > max(1, BROKEN * lines):
        raise BadInput(
            f"meter: {count} of {lines} lines are broken, the first at {faults[0]}. Record {path.name} again."
        )


def _gaps(path: Path, times: np.ndarray, lines: np.ndarray) -> Iterable[str]:
    steps = np.diff(times)
    wide = np.flatnonzero(steps > GAP * np.median(steps))
    found = [f"{path}:{lines[index + 1]}: gap of {steps[index]:.4g} s" for index in wide[:10]]
    return [*found, f"{path}: {len(wide) - 10} more gaps"] if len(wide) > 10 else found


def _trace(
    table: np.ndarray, columns: dict[str, Column], volts: float | None, name: str, scope: Scope
) -> Trace:
    kinds = sorted(columns, key=lambda kind: kind != "time")
    value = {kind: table[:, index] for index, kind in enumerate(kinds)}
    times = value["time"]
    if "power" in value:
        return Trace(times, value["power"], sensor=name, scope=scope)
    if "current" in value:
        supply = value.get("voltage", volts)
        return Trace(times, value["current"] * supply, sensor=name, scope=scope)
    return Trace(times, joules=value["energy"], sensor=name, scope=scope)


def _form(header: list[str], separator: str) -> str:
    first = ",".join(header).lower()
    if first.startswith("timestamp(ms),current(ua)"):
        return "PPK2"
    if separator == ";":
        return "LPM01A"
    return "CSV"
