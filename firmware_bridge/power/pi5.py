"""The power chip of a Raspberry Pi 5, by `vcgencmd pmic_read_adc`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from firmware_bridge.power.sensor import Reading, Scope, Unavailable, powered, said

PERIOD: Final = 1.0  # each reading starts a process
# X_A current(7)=0.88407A and X_V volt(15)=0.721782V, one or several a line; or shorter, X_A=0.88407A
PAIR: Final = re.compile(
    r"(\w+)_([AV])\s*(?:(?:current|volt)\s*\(\d+\))?\s*[=:]\s*(-?\d+(?:\.\d+)?)\s*[AV]\b"
)
SLOPE, OFFSET = 1.1451, 0.5879  # total = 1.1451 sum + 0.5879 W, a fit against a meter by the pitop project


class Pi5:
    """The board's watts: the sum of V I over rails that have both, corrected by a model for what it misses.

    The 5 V input has a voltage and no current, so the chip's own loss and what USB devices take are a fit.
    """

    name = "pi5 pmic"
    scope: Scope = "board"
    period = PERIOD
    wrap: float | None = None
    note = "model-corrected: 1.1451 x sum of rails + 0.5879 W"

    def __init__(self, command: str) -> None:
        self.command = command

    def read(self) -> Reading:
        """Corrected watts."""
        return powered(lambda: corrected(sum(self.rails().values())))

    def rails(self) -> dict[str, float]:
        """Watts by rail as the chip sees them, uncorrected."""
        return rails(_output(self.command))


def corrected(watts: float) -> float:
    """total = 1.1451 sum + 0.5879 W."""
    return SLOPE * watts + OFFSET


def rails(output: str) -> dict[str, float]:
    """P = V I of each rail that has both; `Unavailable` where none has."""
    values: dict[str, dict[str, float]] = {}
    for rail, unit, value in PAIR.findall(output):
        values.setdefault(rail, {})[unit] = float(value)
    found = {rail: pair["V"] * pair["A"] for rail, pair in values.items() if len(pair) == 2}
    if not found:
        raise Unavailable(
            f"pi5: vcgencmd pmic_read_adc names no rail with volts and amperes ('{output.strip()[:40]}'). "
            "Update the firmware: sudo rpi-eeprom-update -a"
        )
    return found


def find(root: Path = Path("/")) -> list[Pi5]:
    """The chip of a Pi 5 (or Compute Module 5, or 500); older ones measure no current."""
    model = said(root / "proc/device-tree/model")
    if "Raspberry Pi" not in model:
        raise Unavailable("pi5: this is no Raspberry Pi 5")
    if not re.search(r"Raspberry Pi (5|Compute Module 5)", model):
        raise Unavailable(
            f"pi5: a {model} measures no current. Use a bench meter: edgekit power integrate TRACE"
        )
    command = shutil.which("vcgencmd")
    if command is None:
        raise Unavailable("pi5: vcgencmd is not on PATH. Run: sudo apt install raspi-utils")
    sensor = Pi5(command)
    sensor.read()
    return [sensor]


def _output(command: str) -> str:
    try:
        done = subprocess.run(
            [command, "pmic_read_adc"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"pi5: vcgencmd does not answer ({error}). Try it by hand.") from error
    if done.returncode != 0 or "error" in done.stdout[:20].lower():
        line = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(
            f"pi5: vcgencmd failed: {line[0] if line else done.returncode}. Join its group: sudo usermod -aG "
            "video $USER"
        )
    return done.stdout
