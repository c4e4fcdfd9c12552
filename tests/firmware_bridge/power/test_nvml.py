"""NVML through a fake binding: counter first, then power, and what is said where there is neither."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from firmware_bridge.power import Unavailable
from firmware_bridge.power.nvml import find


class NVMLError(Exception):
    """The binding's own."""


def binding(*, energy: int | None, instant: int | None, average: int = 71_500) -> ModuleType:
    """A card that has some of the three readings (mJ, mW, mW)."""
    fake = ModuleType("pynvml")

    def total(handle: object) -> int:
        if energy is None:
            raise NVMLError("Not Supported")
        return energy

    def fields(handle: object, wanted: list[int]) -> list[SimpleNamespace]:
        assert wanted == [186]
        return [SimpleNamespace(nvmlReturn=0 if instant else 3, value=SimpleNamespace(uiVal=instant or 0))]

    vars(fake).update(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: b"NVIDIA T4",
        nvmlDeviceGetTotalEnergyConsumption=total,
        nvmlDeviceGetFieldValues=fields,
        nvmlDeviceGetPowerUsage=lambda handle: average,
    )
    return fake


@pytest.mark.parametrize(
    ("energy", "instant", "joules", "watts"),
    [(123_456, 70_000, 123.456, None), (None, 70_000, None, 70.0), (None, None, None, 71.5)],
)
def test_the_best_reading_is_taken(tree, monkeypatch, energy, instant, joules, watts):
    monkeypatch.setitem(sys.modules, "pynvml", binding(energy=energy, instant=instant))
    (sensor,) = find(tree({"dev/nvidiactl": ""}))
    reading = sensor.read()
    assert (reading.joules, reading.watts) == (joules, watts)
    assert (sensor.name, sensor.scope) == ("nvml 0", "gpu")
    assert sensor.note.startswith("NVIDIA T4")


def test_a_card_that_falls_off_the_bus_is_one_line(tree, monkeypatch):
    fake = binding(energy=5, instant=None)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    (sensor,) = find(tree({"dev/nvidiactl": ""}))

    def lost(handle: object) -> int:
        raise NVMLError("GPU is lost")

    monkeypatch.setattr(fake, "nvmlDeviceGetTotalEnergyConsumption", lost)
    with pytest.raises(Unavailable, match=r"nvml 0 cannot be read \(GPU is lost\)"):
        sensor.read()


def test_no_driver_and_no_binding_are_told_apart(tree, monkeypatch):
    with pytest.raises(Unavailable, match="no NVIDIA driver is loaded"):
        find(tree({}))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(Unavailable, match="pip install nvidia-ml-py"):
        find(tree({"dev/nvidiactl": ""}))
