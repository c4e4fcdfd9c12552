"""A tree like a Jetson's whose rail follows a known power while something reads it, and loads without a model."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgekit.profile.energy_run import EnergyPlan
from edgekit.profile.item import Item

VOLTS = 5.0
FOLDER = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"


class Rails:
    """Writes an Orin Nano's files under `root`; inside `with` a thread rewrites the current every 5 ms.

    The power is middle + swing sin(2 pi t / 1.7 s) watts at t seconds of the monotonic clock.
    """

    middle, swing, cycle = 6.0, 2.0, 1.7

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / FOLDER
        self.folder.mkdir(parents=True)
        model = root / "proc/device-tree/model"
        model.parent.mkdir(parents=True)
        model.write_text("NVIDIA Jetson Orin Nano Developer Kit\0")
        (self.folder / "in1_label").write_text("VDD_IN\n")
        (self.folder / "in1_input").write_text(f"{1000 * VOLTS:.0f}\n")
        self._write()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def watts(self, at: float) -> float:
        return self.middle + self.swing * math.sin(2 * math.pi * at / self.cycle)

    def joules(self, start: float, end: float) -> float:
        """The integral of the power in closed form."""
        turn = 2 * math.pi / self.cycle
        waves = self.swing / turn * (math.cos(turn * start) - math.cos(turn * end))
        return self.middle * (end - start) + waves

    def __enter__(self) -> Rails:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            self._write()

    def _write(self) -> None:
        new = self.folder / ".new"
        new.write_text(f"{1000 * self.watts(time.monotonic()) / VOLTS:.0f}\n")
        os.replace(new, self.folder / "curr1_input")


@dataclass(frozen=True)
class Bare(Item):
    """An item that calls a function."""

    function: Callable[[], object] = time.perf_counter

    def call(self, threads: int) -> Callable[[], object]:
        return self.function


@dataclass(frozen=True)
class Short(EnergyPlan):
    """Windows of a part of a second, for tests."""

    length: float = 0.5

    def seconds(self, period: float) -> float:
        return self.length
