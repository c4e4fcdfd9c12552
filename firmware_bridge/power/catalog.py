"""Which sensors are here, and of each that is not, why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgekit.errors import BadInput, did_you_mean
from firmware_bridge.power import battery, hwmon, ina3221, meter_stream, nvml, pi5, rapl
from firmware_bridge.power.meter_address import PREFIX
from firmware_bridge.power.sensor import PowerSensor, Unavailable

Find = Callable[[Path], Sequence[PowerSensor]]
# what covers most comes first
KINDS: Final[tuple[tuple[str, Find], ...]] = (
    ("battery", battery.find),
    ("pi5", pi5.find),
    ("ina3221", ina3221.find),
    ("hwmon", hwmon.find),
    ("rapl", rapl.find),
    ("nvml", nvml.find),
    ("serial", meter_stream.find),
)
RAILS: Final = "ina3221 "  # before rails that are added because the user says so


@dataclass(frozen=True)
class Entry:
    """A kind of sensor: one that is here, or the reason why there is none."""

    kind: str
    sensor: PowerSensor | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        seen = self.sensor
        return {
            "kind": self.kind,
            "name": seen.name if seen else None,
            "scope": seen.scope if seen else None,
            "period_s": seen.period if seen else None,
            "note": seen.note if seen else None,
            "reason": self.reason or None,
        }


def catalog(root: Path = Path("/")) -> list[Entry]:
    """Every sensor under `root`, and a line for each kind of which there is none."""
    return [entry for kind, find in KINDS for entry in _entries(kind, find, root)]


def find_sensor(name: str | None = None, root: Path = Path("/")) -> PowerSensor:
    """The sensor of that name (or the first of that kind), or without a name the one that covers most.

    serial:PLACE opens a bench meter's stream, and 'ina3221 A+B' adds the rails A and B of a Jetson. BadInput
    with the reasons where there is none.
    """
    if name and name.startswith(PREFIX):
        return meter_stream.MeterStream(name)
    entries = catalog(root)
    here = [entry.sensor for entry in entries if entry.sensor]
    fitting = [
        entry for entry in entries if name is None or name in (entry.kind, entry.sensor and entry.sensor.name)
    ]
    for entry in fitting:
        if entry.sensor:
            return entry.sensor
    if name is None:
        reasons = "; ".join(f"{entry.kind}: {entry.reason}" for entry in entries)
        raise BadInput(f"power: no sensor can be read here. {reasons}")
    if name.startswith(RAILS):
        return ina3221.of_rails(name.removeprefix(RAILS).split("+"), root)
    if fitting:
        raise BadInput(f"{name}: {fitting[0].reason}")
    raise BadInput(f"power: '{name}' is unknown. {did_you_mean(name, [sensor.name for sensor in here])}")


def _entries(kind: str, find: Find, root: Path) -> list[Entry]:
    try:
        return [Entry(kind, sensor, "") for sensor in find(root)]
    except Unavailable as error:
        return [Entry(kind, None, str(error).removeprefix("power: ").removeprefix(f"{kind}: "))]
