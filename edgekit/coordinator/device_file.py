"""agent.yaml: what is one machine's own, and never sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgekit import settings
from edgekit.errors import BadInput
from edgekit.paths import absolute
from edgekit.wire.transport import check_id
from edgekit.yaml_lines import read_yaml, yaml_text

PERMITTED = ("histograms", "proxies")


@dataclass(frozen=True)
class Limits:
    """What a run may take: memory_gb of this machine; power_watts only where a sensor can hold it."""

    memory_gb: float | None = None
    power_watts: float | None = None

    def __post_init__(self) -> None:
        for name in ("memory_gb", "power_watts"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise BadInput(f"limits: {name} is {value:g}. Give more than 0, or leave it out.")


@dataclass(frozen=True)
class DeviceFile:
    """One machine.

    data: its own samples, named as in a run file: a folder or .npz, or {name: options}, or module:callable; partition:
    or else the share of the run's data that it takes; share: which facts of its data it may tell, for topologies that
    ask for them; allow: prefixes of code that run documents may name; sensor: the power sensor that is read while it
    trains, by its name (edgekit power list), or auto.
    """

    id: str | None = None
    broker: str | None = None
    data: Any = None
    partition: int | None = None
    device: Literal["auto", "cpu", "cuda"] | None = None
    threads: int = 1
    limits: Limits = Limits()
    credentials: str | None = None
    allow: tuple[str, ...] = ()
    share: tuple[str, ...] = PERMITTED
    out: str = "agent"
    sensor: str | None = None

    def __post_init__(self) -> None:
        if self.id is not None:
            check_id(self.id)
        if self.threads < 1:
            raise BadInput(f"threads: {self.threads} is too few. Give at least 1.")
        if self.partition is not None and self.partition < 0:
            raise BadInput(f"partition: {self.partition} is no share. Give 0 or more.")
        for fact in self.share:
            if fact not in PERMITTED:
                raise BadInput(f"share: '{fact}' is unknown. Known: {', '.join(PERMITTED)}.")


def read_device_file(path: Path) -> DeviceFile:
    """The machine that a file describes; BadInput names FILE:LINE."""
    if not path.is_file():
        raise BadInput(
            f"agent: there is no file '{path}'. Write one with a line such as: data: ./agent-0.npz"
        )
    document = read_yaml(yaml_text(path), source=str(path))
    values = absolute(document.value or {}, path.resolve().parent)
    if isinstance(values, dict) and "limits" in values:
        limits = values["limits"]
        values["limits"] = settings.build(Limits, limits, document=document, path=("limits",), name="limits")
    document.value = values
    return settings.build(DeviceFile, values, document=document, path=(), name="agent")
