"""NVIDIA graphics cards, by NVML: the energy counter (Volta and later), else power."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

from firmware_bridge.power.sensor import Reading, Scope, Unavailable, metered, powered

NODES: Final = ("dev/nvidiactl", "dev/dxg", "proc/driver/nvidia/version")
PERIOD: Final = 0.1
INSTANT: Final = 186  # NVML_FI_DEV_POWER_INSTANT, mW; nvmlDeviceGetPowerUsage averages over 1 s since Ampere
COUNTED: Final = "the card's own counter of energy"
SAMPLED: Final = "power, of which the card may sample a part of the time only: measure for seconds, and often"


class Nvml:
    """One card: joules since its driver was loaded, or watts where it does not count them."""

    scope: Scope = "gpu"
    period = PERIOD
    wrap: float | None = None

    def __init__(self, library: Any, index: int) -> None:
        self.library, self.handle = library, library.nvmlDeviceGetHandleByIndex(index)
        model = library.nvmlDeviceGetName(self.handle)
        self.model = model.decode() if isinstance(model, bytes) else str(model)
        self.name = f"nvml {index}"
        self.counts = self._works(self._joules)
        self.instant = not self.counts and self._works(self._instant_watts)
        self.note = f"{self.model}: {COUNTED if self.counts else SAMPLED}"

    def read(self) -> Reading:
        """The counter, else power at this moment, else its average over the last second."""
        try:
            if self.counts:
                return metered(self._joules)
            return powered(self._instant_watts if self.instant else self._average_watts)
        except self.library.NVMLError as error:
            raise Unavailable(f"nvml: {self.name} cannot be read ({error}). See: nvidia-smi") from error

    def _works(self, read: Any) -> bool:
        try:
            read()
        except (self.library.NVMLError, AttributeError):
            return False
        return True

    def _joules(self) -> float:
        return float(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1e3

    def _instant_watts(self) -> float:
        value = self.library.nvmlDeviceGetFieldValues(self.handle, [INSTANT])[0]
        if value.nvmlReturn:
            raise self.library.NVMLError(value.nvmlReturn)
        return float(value.value.uiVal) / 1e3

    def _average_watts(self) -> float:
        return float(self.library.nvmlDeviceGetPowerUsage(self.handle)) / 1e3


def find(root: Path = Path("/")) -> list[Nvml]:
    """A sensor for each card; `Unavailable` without a card, its driver or its Python binding."""
    if not any((root / node).exists() for node in NODES):
        raise Unavailable("nvml: no NVIDIA driver is loaded (/dev/nvidiactl is absent)")
    try:
        library = importlib.import_module("pynvml")
    except ImportError as error:
        raise Unavailable(
            "nvml: a card is here, its Python binding is not. Run: pip install nvidia-ml-py"
        ) from error
    try:
        library.nvmlInit()
        return [Nvml(library, index) for index in range(library.nvmlDeviceGetCount())]
    except library.NVMLError as error:
        raise Unavailable(f"nvml: the driver does not answer ({error}). See: nvidia-smi") from error
