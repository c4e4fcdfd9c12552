"""PMBus regulators and single INA monitors of FPGA boards (Zynq UltraScale+), by hwmon."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firmware_bridge.power.sensor import Reading, Scope, Unavailable, number, powered, said

FOLDER: Final = "sys/class/hwmon"
CHIP: Final = re.compile(
    r"(ina2[0-9]{2}|irps5401|ir3[58]\d{3}|pmbus|max\d{5}|isl\d{5}|tps\d{5}|ucd\d+|ltc\d{4})"
)
PERIOD: Final = 0.1


@dataclass(frozen=True)
class Rail:
    """One output: a file in microwatts, or files in mV and mA."""

    label: str
    microwatts: Path | None
    millivolts: Path | None = None
    milliamps: Path | None = None
    period: float = PERIOD

    def watts(self) -> float:
        """P, or V I."""
        if self.microwatts is not None:
            return number(self.microwatts) / 1e6
        if self.millivolts is None or self.milliamps is None:
            raise Unavailable(f"hwmon: {self.label} has nothing to read. Check its driver.")
        return number(self.millivolts) * number(self.milliamps) / 1e6


class Hwmon:
    """The sum of a board's monitored rails; a converter's input and its outputs are never both added."""

    scope: Scope = "module"
    wrap: float | None = None

    def __init__(self, channels: list[Rail]) -> None:
        self.channels = channels
        self.name = f"hwmon {channels[0].label}" if len(channels) == 1 else f"hwmon {len(channels)} rails"
        self.period = max(rail.period for rail in channels)
        self.note = (
            "sum of " + ", ".join(rail.label for rail in channels) + "; what has no monitor is left out"
        )

    def read(self) -> Reading:
        """Watts of all rails."""
        return powered(lambda: sum(rail.watts() for rail in self.channels))

    def rails(self) -> dict[str, float]:
        """Watts by rail."""
        return {rail.label: rail.watts() for rail in self.channels}


def find(root: Path = Path("/")) -> list[Hwmon]:
    """One sensor over all monitors; `Unavailable` where the board has none (PYNQ-Z1 and Z2 have none)."""
    folders = sorted((root / FOLDER).glob("hwmon*"), key=lambda path: (len(path.name), path.name))
    rails = [rail for folder in folders for rail in _rails(folder)]
    if not rails:
        raise Unavailable(
            "hwmon: no PMBus or INA2xx monitor under /sys/class/hwmon (PYNQ-Z1 and Z2 have none). Use a bench "
            "meter: edgekit power integrate TRACE"
        )
    return [Hwmon(rails)]


def _rails(folder: Path) -> Iterator[Rail]:
    chip = said(folder / "name")
    if not CHIP.match(chip):
        return
    interval = said(folder / "update_interval")
    period = int(interval) / 1e3 if interval.isdigit() and int(interval) else PERIOD
    powers = sorted(folder.glob("power*_input"))
    labels = {path: said(path.with_name(path.name.replace("_input", "_label"))) for path in powers}
    inputs = [path for path in powers if labels[path].startswith("pin")]
    for path in inputs or powers:
        yield Rail(f"{chip} {labels[path]}".strip(), path, period=period)
    if not powers:
        yield from _products(folder, chip, period)


def _products(folder: Path, chip: str, period: float) -> Iterator[Rail]:
    """Chips that tell volts and amperes only: in1 is an INA's shunt where in0 is there, else the rail."""
    for current in sorted(folder.glob("curr*_input")):
        volts = current.with_name(current.name.replace("curr", "in"))
        if volts.exists():
            yield Rail(f"{chip} {said(volts.with_name(volts.name.replace('_input', '_label')))}".strip(),
                       None, volts, current, period)  # fmt: skip
