"""The state a board was measured in: power mode, locked clocks, governor, frequency, temperatures."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput, did_you_mean
from firmware_bridge.power.sensor import Unavailable, said


@dataclass(frozen=True)
class PowerState:
    """What decides power beside the load; None where the board does not say, with the reason.

    clocks_locked: whether jetson_clocks holds the processor at one frequency. governors and megahertz are by
    processor core, temperatures in degrees Celsius by thermal zone.
    """

    power_mode: str | None
    power_mode_id: int | None
    clocks_locked: bool | None
    governors: dict[str, str]
    megahertz: dict[str, float]
    temperatures: dict[str, float]
    unknown: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def power_state(root: Path = Path("/")) -> PowerState:
    """The state of the board under `root`; nvpmodel and jetson_clocks are those on PATH."""
    unknown: dict[str, str] = {}
    mode, number = _asked("power_mode", power_mode, unknown) or (None, None)
    cores = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"), key=_number)
    if not cores:
        unknown["governors"] = unknown["megahertz"] = "no cpufreq under /sys/devices/system/cpu"
    temperatures = _temperatures(root)
    if not temperatures:
        unknown["temperatures"] = "no zone under /sys/class/thermal"
    return PowerState(
        power_mode=mode,
        power_mode_id=number,
        clocks_locked=_asked("clocks_locked", clocks_locked, unknown),
        governors={core.parent.name: said(core / "scaling_governor") for core in cores},
        megahertz={
            core.parent.name: int(value) / 1e3
            for core in cores
            if (value := said(core / "scaling_cur_freq")).isdigit()
        },
        temperatures=temperatures,
        unknown=unknown,
    )


def power_mode() -> tuple[str, int | None]:
    """The mode's name and number as `nvpmodel -q` says them; `Unavailable` without it."""
    output = _run("nvpmodel", "-q")
    found = re.search(r"NV Power Mode:\s*(\S.*?)\s*$(?:\s*^\s*(\d+)\s*$)?", output, re.MULTILINE)
    if not found:
        raise Unavailable(f"nvpmodel: names no power mode ('{output.strip()[:40]}'). Try: sudo nvpmodel -q")
    return found[1], int(found[2]) if found[2] else None


def clocks_locked() -> bool:
    """Whether every processor core that `jetson_clocks --show` lists has its lowest frequency at its highest."""
    output = _run("jetson_clocks", "--show")
    ranges = re.findall(r"^cpu\d+:.*?MinFreq=(\d+)\s+MaxFreq=(\d+)", output, re.MULTILINE)
    if not ranges:
        raise Unavailable("jetson_clocks: shows no processor. Try: sudo jetson_clocks --show")
    return all(low == high for low, high in ranges)


def power_modes(root: Path = Path("/")) -> dict[str, int]:
    """Number by name of the modes in /etc/nvpmodel.conf; {} without it."""
    entries = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", said(root / "etc/nvpmodel.conf"))
    return {name: int(number) for number, name in entries}


@contextmanager
def in_power_mode(name: str, root: Path = Path("/")) -> Iterator[None]:
    """Set a power mode, and restore the one before; BadInput where the board has no such mode."""
    modes = power_modes(root)
    if name not in modes:
        raise BadInput(f"nvpmodel: '{name}' is no mode of this board. {did_you_mean(name, modes)}")
    before, number = power_mode()
    number = modes.get(before, 0) if number is None else number
    _run("nvpmodel", "-m", str(modes[name]))
    try:
        yield
    finally:
        _run("nvpmodel", "-m", str(number))


def _asked(field: str, ask: Any, unknown: dict[str, str]) -> Any:
    try:
        return ask()
    except Unavailable as error:
        unknown[field] = str(error)
        return None


def _temperatures(root: Path) -> dict[str, float]:
    """By zone type; a zone that is switched off answers nothing."""
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*"), key=_number):
        value, kind = said(zone / "temp"), said(zone / "type") or zone.name
        if re.fullmatch(r"-?\d+", value):
            found[kind if kind not in found else f"{kind} {zone.name}"] = int(value) / 1e3
    return found


def _number(path: Path) -> int:
    return int("".join(re.findall(r"\d+", path.name if path.name != "cpufreq" else path.parent.name)) or 0)


def _run(*words: str) -> str:
    command = shutil.which(words[0])
    if command is None:
        raise Unavailable(f"{words[0]}: not on PATH (Jetsons have it)")
    try:
        done = subprocess.run(
            [command, *words[1:]], capture_output=True, text=True, timeout=20, check=False, input="NO\n"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{words[0]}: does not answer ({error}). Try it by hand.") from error
    if done.returncode != 0:
        line = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(
            f"{' '.join(words)}: {line[0] if line else 'failed'}. Run as root: sudo {' '.join(words)}"
        )
    return done.stdout
