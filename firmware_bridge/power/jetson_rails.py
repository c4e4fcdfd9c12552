"""Which INA3221 rails a Jetson has, and which of them add up to the module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.power.sensor import said


@dataclass(frozen=True)
class Rails:
    """A board's rails: those that add up to the module, and those that are shown and never added.

    modules are the part numbers in the device tree's `compatible`, model words in its `model`. source says
    where the rails are from; note what their sum leaves out.
    """

    board: str
    modules: tuple[str, ...]
    model: str
    total: tuple[str, ...]
    shown: tuple[str, ...]
    source: str
    note: str = ""


L4T_32 = "NVIDIA L4T 32.6.1 device trees and Developer Guide, Clock Frequency and Power Management"
ORIN_NX = "Linux kernel, arch/arm64/boot/dts/nvidia/tegra234-p3767.dtsi"
AGX_ORIN = "Linux kernel, arch/arm64/boot/dts/nvidia/tegra234-p3701.dtsi and tegra234-p3701-0008.dtsi"
THOR = "tegrastats of the developer kit, JetPack 7"
ORIN = ("VDD_CPU_GPU_CV", "VDD_SOC")
SUM = "a sum of rails, without the carrier board and the losses of its converters"

# in the order in which they are tried: a module's number first, then words of its model
TABLE = (
    Rails("Orin Nano", ("p3767-0003", "p3767-0004", "p3767-0005"), "orin nano", ("VDD_IN",), ORIN, ORIN_NX),
    Rails("Orin NX", ("p3767-0000", "p3767-0001"), "orin nx", ("VDD_IN",), ORIN, ORIN_NX),
    Rails(
        "AGX Orin",
        ("p3701",),
        "agx orin",
        ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        ("VDDQ_VDD2_1V8AO", "CVB_ATX_12V", "CVB_ATX_3V3", "CVB_ATX_5V"),
        AGX_ORIN,
        SUM + "; VDDQ_VDD2_1V8AO is taken for a branch of VIN_SYS_5V0 and not added",
    ),
    Rails(
        "Thor",
        ("p3834",),
        "thor",
        ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),
        (),
        THOR,
        SUM + "; the whole input (VIN) is on another chip",
    ),
    Rails("Xavier NX", ("p3668",), "xavier nx", ("VDD_IN",), ORIN, L4T_32),
    Rails("AGX Xavier", ("p2888",), "agx", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), (), L4T_32, SUM),
    Rails("TX2 NX", ("p3636",), "tx2 nx", ("VDD_IN",), ("VDD_CPU_GPU", "VDD_SOC"), L4T_32),
    Rails(
        "TX2",
        ("p3310", "p3489"),
        "tx2",
        ("VDD_IN",),
        (
            *("VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", "VDD_SYS_CPU", "VDD_SYS_DDR"),
            *("VDD_GPU", "VDD_SOC", "VDD_WIFI", "VDD_CPU", "VDD_DDR"),
            *("VDD_MUX", "VDD_5V0_IO_SYS", "VDD_5V_IO_SYS", "VDD_3V3_SYS"),
            *("VDD_3V3_IO_SLP", "VDD_1V8_IO", "VDD_3V3_SYS_M2"),
        ),
        L4T_32,
        "the module alone: the carrier board's rails are shown and not added",
    ),
    Rails("Nano", ("p3448",), "nano", ("POM_5V_IN",), ("POM_5V_GPU", "POM_5V_CPU"), L4T_32),
)
TOTALS = ("VDD_IN", "POM_5V_IN")


def rails_of(root: Path) -> Rails | None:
    """The table's entry for the board whose device tree is under `root`."""
    compatible = said(root / "proc/device-tree/compatible").lower()
    model = said(root / "proc/device-tree/model").lower().replace("-", " ")
    for rails in TABLE:
        if any(module in compatible for module in rails.modules):
            return rails
    return next((rails for rails in TABLE if "jetson" in model and rails.model in model), None)
