"""What is installed and what this machine can do, read without importing anything heavy that is absent."""

from __future__ import annotations

import importlib
import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import edgekit

_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")


@dataclass(frozen=True)
class Extra:
    """An extra of the distribution: the versions of its packages, and those that are missing."""

    name: str
    present: dict[str, str]
    missing: tuple[str, ...]

    @property
    def state(self) -> str:
        """One word, or how many packages are missing."""
        return f"{len(self.missing)} missing" if self.missing else "installed"

    def packages(self) -> str:
        """The packages in one line."""
        return ", ".join(
            [
                *(f"{name} {number}" for name, number in self.present.items()),
                *(f"{name} (missing)" for name in self.missing),
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


def machine() -> dict[str, str]:
    """Facts of this machine and this Python, by name."""
    import psutil

    memory = psutil.virtual_memory()
    return {
        "edgekit": edgekit.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "instruction sets": ", ".join(instruction_sets()) or "unknown",
        "cores": f"{psutil.cpu_count(logical=False)} ({psutil.cpu_count()} threads)",
        "memory": f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB free",
        "torch": _torch(),
        "onnxruntime": _onnxruntime(),
    }


def instruction_sets(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """The vector extensions that decide which integer kernels run, as Linux names them; [] where unknown."""
    if not cpuinfo.is_file():
        return []
    text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    line = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.M)
    have = set(line.group(1).split()) if line else set()
    return [flag for flag in _FLAGS if flag in have]


def extras() -> list[Extra]:
    """Every extra of the installed distribution, with what of it is present."""
    try:
        lines = requires("edgekit") or []
    except PackageNotFoundError:
        return []
    names = sorted(
        {
            found.group(1)
            for line in lines
            if (
                found := re.search(
                    r"extra == "
                    r"['\"](\w+)['\"]",
                    line,
                )
            )
        }
    )
    return [_extra(name, lines) for name in names]


def _extra(name: str, lines: list[str]) -> Extra:
    present, missing = {}, []
    for package in sorted(_packages(name, lines, set())):
        try:
            present[package] = version(package)
        except PackageNotFoundError:
            missing.append(package)
    return Extra(name, present, tuple(missing))


def _packages(name: str, lines: list[str], seen: set[str]) -> set[str]:
    """The packages that an extra asks for on this machine; `edgekit[a,b]` stands for those of a and b."""
    seen.add(name)
    found: set[str] = set()
    for line in lines:
        requirement, _, marker = line.partition(";")
        if f"extra == '{name}'" not in marker.replace('"', "'"):
            continue
        nested = re.match(r"\s*edgekit\[([\w,]+)\]", requirement)
        if nested:
            inner = [item for item in nested.group(1).split(",") if item not in seen]
            found.update(package for item in inner for package in _packages(item, lines, seen))
        elif "armv" not in marker or not platform.machine().startswith(("armv6", "armv7")):
            found.add(re.match(r"\s*([\w.-]+)", requirement).group(1))  # type: ignore[union-attr]
    return found


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    line = re.search(r"^(?:model name|Model)\s*:\s*(.*)$", text, re.M)
    return line.group(1) if line else platform.processor() or "unknown"


def _torch() -> str:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return f"absent ({error})"
    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    return f"{torch.__version__}, {cuda}"


def _onnxruntime() -> str:
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        return f"absent ({error})"
    return f"{runtime.__version__}, {', '.join(runtime.get_available_providers())}"
