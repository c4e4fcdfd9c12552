"""The INA3221 monitors of a Jetson, by hwmon (JetPack 5 and later) or iio (JetPack 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit.errors import did_you_mean
from firmware_bridge.power.jetson_rails import TABLE, TOTALS, Rails, rails_of
from firmware_bridge.power.sensor import Reading, Scope, Unavailable, number, powered, said, text

DRIVERS: Final = "sys/bus/i2c/drivers"
PERIOD: Final = 0.1  # where the driver does not say its update_interval


@dataclass(frozen=True)
class Channel:
    """One rail: files in mV and mA, whose product is mW / 1000, or one file in mW."""

    label: str
    millivolts: Path | None
    milliamps: Path | None
    milliwatts: Path | None
    period: float

    def watts(self) -> float:
        """P = V I."""
        if self.milliwatts is not None:
            return number(self.milliwatts) / 1e3
        if self.millivolts is None or self.milliamps is None:
            raise Unavailable(f"ina3221: {self.label} has no voltage or current to read. Check its driver.")
        return number(self.millivolts) * number(self.milliamps) / 1e6


class Ina3221:
    """The power of a Jetson's module: its total rail, or the sum of the rails that make the total."""

    scope: Scope = "module"
    wrap: float | None = None

    def __init__(self, channels: list[Channel], rails: Rails) -> None:
        by_label = {channel.label: channel for channel in channels}
        missing = [label for label in rails.total if label not in by_label]
        if missing:
            raise Unavailable(
                f"ina3221: a {rails.board} has {', '.join(rails.total)}, and {', '.join(missing)} cannot be "
                f"found (there: {', '.join(by_label) or 'nothing'}). Check the device tree of the carrier board."
            )
        self.name = f"ina3221 {'+'.join(rails.total)}"
        self.channels = by_label
        self.total = [by_label[label] for label in rails.total]
        self.period = max(channel.period for channel in self.total)
        strange = [label for label in by_label if label not in rails.total + rails.shown]
        self.note = "; ".join(
            filter(
                None,
                [
                    rails.board,
                    rails.note,
                    *(
                        f"{label} is not in the table and not added (to add it, name the sensor '{self.name}+{label}')"
                        for label in strange
                    ),
                ],
            )
        )

    def read(self) -> Reading:
        """The module's watts."""
        return powered(lambda: sum(channel.watts() for channel in self.total))

    def rails(self) -> dict[str, float]:
        """Watts by rail, those inside the total too."""
        return {label: channel.watts() for label, channel in self.channels.items()}


def find(root: Path = Path("/")) -> list[Ina3221]:
    """The module's sensor; `Unavailable` without a monitor, or where its rails fit no board of the table."""
    channels = _channels(root)
    return [Ina3221(channels, rails_of(root) or _by_rule(channels))]


def of_rails(labels: Sequence[str], root: Path = Path("/")) -> Ina3221:
    """The sum of the rails that are named, whatever the table says; `Unavailable` where one is not there."""
    channels = _channels(root)
    here = [channel.label for channel in channels]
    for label in labels:
        if label not in here:
            raise Unavailable(f"ina3221: no rail '{label}' is here. {did_you_mean(label, here)}")
    rest = tuple(label for label in here if label not in labels)
    total = tuple(dict.fromkeys(labels))
    return Ina3221(channels, Rails("rails as they were named", (), "", total, rest, ""))


def _channels(root: Path) -> list[Channel]:
    channels = [*_hwmon(root / DRIVERS / "ina3221"), *_iio(root / DRIVERS / "ina3221x")]
    if not channels:
        raise Unavailable(
            "ina3221: no monitor with a labelled rail under /sys/bus/i2c/drivers (Jetsons have one)"
        )
    return channels


def _by_rule(channels: list[Channel]) -> Rails:
    """A board that is not in the table: its input rail where it has one."""
    labels = tuple(channel.label for channel in channels)
    total = next((label for label in TOTALS if label in labels), None)
    if total is None:
        raise Unavailable(
            f"ina3221: this board is not in the table ({', '.join(rails.board for rails in TABLE)}) and none of "
            f"{', '.join(labels)} is known as its input. Name those that make up the whole: edgekit power watch "
            f"'ina3221 {'+'.join(labels)}', or use a bench meter: edgekit power integrate TRACE"
        )
    rest = tuple(label for label in labels if label != total)
    return Rails(
        "board not in the table", (), "", (total,), rest, "", f"{total} is taken for the whole input"
    )


def _hwmon(driver: Path) -> Iterator[Channel]:
    """inN_input in mV and currN_input in mA; channel 7 is a sum of shunt voltages and no rail."""
    for folder in sorted(driver.glob("*/hwmon/hwmon*")):
        interval = said(folder / "update_interval")
        period = int(interval) / 1e3 if interval.isdigit() and int(interval) else PERIOD
        for index in (1, 2, 3):
            label = said(folder / f"in{index}_label")
            if _is_rail(label):
                yield Channel(label, folder / f"in{index}_input", folder / f"curr{index}_input", None, period)


def _iio(driver: Path) -> Iterator[Channel]:
    """in_powerN_input in mW."""
    for folder in sorted(driver.glob("*/iio:device*")):
        for index in (0, 1, 2):
            path = folder / f"rail_name_{index}"
            label = text(path) if path.exists() else ""
            if _is_rail(label):
                yield Channel(label, None, None, folder / f"in_power{index}_input", PERIOD)


def _is_rail(label: str) -> bool:
    return bool(label) and "NC" not in label.upper().split() and not label.lower().startswith("sum of")
