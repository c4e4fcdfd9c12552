"""A battery's own gauge: the whole system while nothing charges it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from firmware_bridge.power.sensor import Reading, Scope, Unavailable, number, powered, said

FOLDER: Final = "sys/class/power_supply"
PERIOD: Final = 2.0  # gauges are slow


class Battery:
    """Watts that a battery gives: power_now in microwatts, else |voltage_now x current_now|."""

    scope: Scope = "board"
    period = PERIOD
    wrap: float | None = None
    note = "the whole system, display and all; the gauge answers in seconds"

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"battery {folder.name}"

    def read(self) -> Reading:
        """Watts; `Unavailable` while it charges or a charger carries the load."""
        status = said(self.folder / "status")
        if status != "Discharging":
            raise Unavailable(
                f"battery: {self.folder.name} is '{status or 'gone'}', not discharging. Unplug the charger."
            )
        return powered(self._watts)

    def _watts(self) -> float:
        if (self.folder / "power_now").exists():
            return abs(number(self.folder / "power_now")) / 1e6
        return number(self.folder / "voltage_now") * abs(number(self.folder / "current_now")) / 1e12


def find(root: Path = Path("/")) -> list[Battery]:
    """The batteries that discharge; `Unavailable` without one."""
    folders = sorted(path for path in (root / FOLDER).glob("*") if _is_battery(path))
    if not folders:
        raise Unavailable("battery: none under /sys/class/power_supply that tells its power")
    found = [Battery(folder) for folder in folders]
    for battery in found:
        battery.read()
    return found


def _is_battery(folder: Path) -> bool:
    """A system's battery that can be read, not a mouse's."""
    tells = (folder / "power_now").exists() or (folder / "current_now").exists()
    return said(folder / "type") == "Battery" and said(folder / "scope") != "Device" and tells
