"""Energy counters of Intel and AMD processors (RAPL), by powercap."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from firmware_bridge.power.sensor import Reading, Scope, Unavailable, metered, number, said

ZONES: Final = "sys/class/powercap"
FIX: Final = (
    """Allow it once: echo 'ACTION=="add", SUBSYSTEM=="powercap", RUN+="/bin/chmod a+r /sys%p/energy_uj"' """
    "| sudo tee /etc/udev/rules.d/70-rapl.rules; sudo udevadm trigger -c add -s powercap"
)
PERIOD: Final = 0.001
SCOPES: Final[dict[str, Scope]] = {"psys": "board"}


class Rapl:
    """One zone's counter in joules, raw: it starts again at 0 after `wrap` joules."""

    period = PERIOD

    def __init__(self, folder: Path) -> None:
        zone = said(folder / "name")
        self.name = f"rapl {zone}"
        self.scope: Scope = SCOPES.get(zone, "cpu")
        self.wrap: float | None = number(folder / "max_energy_range_uj", fix=FIX) / 1e6
        self.note = "the platform" if zone == "psys" else "one processor package, without its memory modules"
        self.path = folder / "energy_uj"
        self.read()

    def read(self) -> Reading:
        """The counter; a period of over `wrap` joules between two readings goes unseen."""
        return metered(lambda: number(self.path, fix=FIX) / 1e6)


class RaplSum:
    """Several packages as one counter, each unwrapped before they are added."""

    scope: Scope = "cpu"
    period = PERIOD
    wrap: float | None = None

    def __init__(self, parts: list[Rapl]) -> None:
        self.parts = parts
        self.name = "rapl " + "+".join(part.name.removeprefix("rapl ") for part in parts)
        self.note = "the sum of the processor packages"
        self._last = [self._joules(part) for part in parts]
        self._total = 0.0

    def read(self) -> Reading:
        """Joules since this sensor was made."""
        return metered(self._advance)

    def _advance(self) -> float:
        for index, part in enumerate(self.parts):
            now = self._joules(part)
            step = now - self._last[index]
            self._total += step + (part.wrap or 0.0) if step < 0 else step
            self._last[index] = now
        return self._total

    @staticmethod
    def _joules(part: Rapl) -> float:
        return part.read().joules or 0.0


def find(root: Path = Path("/")) -> list[Rapl | RaplSum]:
    """The platform's counter where there is one, and the packages'; a package's own parts are inside it."""
    folders = sorted((root / ZONES).glob("intel-rapl:*"))
    tops = [Rapl(folder) for folder in folders if folder.name.count(":") == 1 and _counts(folder)]
    if not tops:
        raise Unavailable(
            "rapl: no counter under /sys/class/powercap (x86 processors have them; virtual ones do not)"
        )
    packages = [zone for zone in tops if zone.name.startswith("rapl package")]
    others: list[Rapl | RaplSum] = [zone for zone in tops if zone.name == "rapl psys"]
    return [*others, *([RaplSum(packages)] if len(packages) > 1 else packages)]


def _counts(folder: Path) -> bool:
    return said(folder / "name").startswith(("package", "psys"))
