"""NVIDIA's parser and builder on a file, in a process of its own: on a board TensorRT, elsewhere TensorRT for RTX."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from targets.jetson.layers import Layer, layer_of

SECONDS = 600
ABSENT = (
    "NVIDIA's parser is not installed, so the file was not built. On an x86-64 host: edgekit doctor --install "
    "jetson-check."
)


@dataclass(frozen=True)
class Built:
    """What came of a file: `by` is the module and its version; `refused` pairs a node with the parser's reason."""

    by: str
    layers: tuple[Layer, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def build(path: Path, *, seconds: float = SECONDS) -> Built | str:
    """The layers that the builder makes of a file, or why it was not built."""
    command = [sys.executable, "-m", "targets.jetson.worker", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"NVIDIA's builder was not done after {seconds:g} s."
    if done.returncode == 3:
        return ABSENT
    try:
        made = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return f"NVIDIA's builder ended with status {done.returncode}: {last[:300]}"
    layers = tuple(layer for account in made["layers"] if (layer := layer_of(account)) is not None)
    refused = tuple((str(error["node"]), str(error["reason"])) for error in made["errors"])
    return Built(f"{made['module']} {made['version']}", layers, refused)
