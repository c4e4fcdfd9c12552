"""The name of a bench meter that is read live, taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edgekit.errors import BadInput, did_you_mean
from firmware_bridge.power.meter_columns import unit_of
from firmware_bridge.power.sensor import Scope

PREFIX: Final = "serial:"
OPTIONS: Final = ("volts", "unit", "columns", "scope")
SCOPES: Final = ("module", "board", "wall")


@dataclass(frozen=True)
class Address:
    """serial:PLACE[@BAUD][,volts=V][,unit=mA][,columns=voltage_V+current_mA][,scope=module] taken apart."""

    place: str
    baud: int | None = None
    volts: float | None = None
    unit: str = ""
    columns: tuple[str, ...] = ()
    scope: Scope = "board"

    @classmethod
    def parse(cls, name: str) -> Address:
        """BadInput with the form where `name` has another."""
        place, *words = name.removeprefix(PREFIX).split(",")
        path, at, baud = place.rpartition("@")
        if at and baud.isdigit():
            place = path
        if not place:
            raise BadInput(f"serial: '{name}' names no device. Write serial:/dev/ttyACM0@115200")
        options = dict(_option(word) for word in words)
        return cls(
            place,
            int(baud) if at and baud.isdigit() else None,
            _volts(options["volts"]) if "volts" in options else None,
            _unit(options.get("unit", "")),
            tuple(filter(None, options.get("columns", "").split("+"))),
            _scope(options.get("scope", "board")),
        )


def _option(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    if key not in OPTIONS or not value:
        raise BadInput(
            f"serial: '{word}' is no option of a meter. {did_you_mean(key, OPTIONS)} Write volts=3.3"
        )
    return key, value


def _volts(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    if not 0 < value < 1000:
        raise BadInput(f"serial: volts={word} is no supply. Write volts=3.3")
    return value


def _unit(word: str) -> str:
    if word and unit_of(word)[0] not in ("power", "current", "energy"):
        raise BadInput(f"serial: unit={word} is no unit of power, current or energy. Write W, mA or J.")
    return word


def _scope(word: str) -> Any:
    if word not in SCOPES:
        raise BadInput(f"serial: scope={word} is unknown. {did_you_mean(word, SCOPES)}")
    return word
