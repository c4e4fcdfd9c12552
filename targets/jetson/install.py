"""NVIDIA's parser and builder for a host without a Jetson: two wheels from PyPI, and what of TensorRT is here."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgekit.errors import BadInput

NAME = "jetson-check"
SIZE = "0.24 GB"
RELEASE = "1.7.1.116"
PACKAGES = ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings")
INSTALL = f"edgekit doctor --install {NAME}"
JETPACK = "usr/lib/python3*/dist-packages/tensorrt"


def state(root: Path = Path("/")) -> str:
    """What checks an export here, or the command that would: one line."""
    if importlib.util.find_spec("tensorrt") is not None:
        return f"TensorRT {_version('tensorrt')}"
    hidden = next(iter(sorted(root.glob(JETPACK))), None)
    if hidden is not None:
        return (
            f"JetPack's TensorRT is in {hidden.parent}, but this virtual environment hides it. Make it anew with: "
            "python3 -m venv --system-site-packages"
        )
    if _version(PACKAGES[1]):
        return (
            f"NVIDIA's parser of TensorRT for RTX {_version(PACKAGES[1])} (checks exports; measures nothing)"
        )
    return f"NVIDIA's parser is absent: {INSTALL} ({SIZE})"


def install(say: Callable[[str], None] = print) -> None:
    """Install the wheels into this Python; BadInput where there are none for this machine or pip fails."""
    if not (sys.platform == "linux" and platform.machine() == "x86_64"):
        raise BadInput(
            f"{NAME}: NVIDIA has these wheels for x86-64 Linux alone; this is {platform.machine()}. On a Jetson use "
            "JetPack's own TensorRT."
        )
    if all(_version(package) == RELEASE for package in PACKAGES):
        say(f"{NAME} {RELEASE} is installed.")
        return
    say(f"{NAME} needs {SIZE} in {sys.prefix}; the packages are NVIDIA's, under its own licence.")
    pinned = [f"{package}=={RELEASE}" for package in PACKAGES]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", *pinned]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        reason = (errors or done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BadInput(f"{NAME}: pip failed: {reason.strip().rstrip('.')}. Then run again: {INSTALL}")
    say(f"{NAME} {RELEASE} is ready.")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
