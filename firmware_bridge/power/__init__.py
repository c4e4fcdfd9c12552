"""Power sensors of boards and bench meters, and the state a board was measured in; needs no torch."""

from __future__ import annotations

from firmware_bridge.power.catalog import Entry, catalog, find_sensor
from firmware_bridge.power.sensor import Ended, PowerSensor, Reading, Scope, Unavailable

__all__ = ["Ended", "Entry", "PowerSensor", "Reading", "Scope", "Unavailable", "catalog", "find_sensor"]
