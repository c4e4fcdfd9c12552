"""Bit widths within a budget: untrained networks are estimated by FINN until one fits."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.export.file import write
from edgekit.target import Aims, Board, Say
from targets.fpga.finn.budget import Budget
from targets.fpga.finn.build import Device, write_build
from targets.fpga.finn.environment import FINN
from targets.fpga.finn.integer_input import integer_input
from targets.fpga.finn.search import Search, search


def choose(
    folder: Path, networks: Mapping[str, Callable[[], Any]], board: Board, aims: Aims, say: Say
) -> dict[str, Any]:
    """The first of the networks (functions that give a QONNX onnx.ModelProto) with a folding within the aims.

    Returns {"chosen": name, "missed": what lacks or "", "tried": {name: {"figures": {name: value}, "rejected": why or
    ""}}}. Where none fits, the nearest's build folder stays in `folder`/NAME. EdgekitError where FINN is not installed
    or can estimate none of them.
    """
    finn = FINN.find()
    if finn is None:
        raise EdgekitError(
            f"{board.name}: {FINN.probe()}, whose estimates choose between bit widths. Run: {FINN.command} "
            f"({FINN.size}), or give one width."
        )
    device = Device.of(board)
    shutil.rmtree(folder, ignore_errors=True)

    def build_of(name: str, fps: float) -> Path:
        own = folder / name
        write(integer_input(networks[name]()).model, own / "model.onnx")
        return write_build(own, own / "model.onnx", device, target_fps=fps)

    found = search(build_of, board, Budget(aims.fps, **aims.limits), bits=list(networks), finn=finn, say=say)
    kept = found.best.bits if found.missed else None
    for own in folder.iterdir():
        if own.name != kept:
            shutil.rmtree(own)
    if kept is None:
        folder.rmdir()
    return {"chosen": found.best.bits, "missed": found.missed, "tried": _tried(found, networks)}


def _tried(found: Search, networks: Mapping[str, Any]) -> dict[str, Any]:
    """Each network's nearest folding, or why FINN could not take it, in the order they were tried."""
    tried = {}
    for name in networks:
        trial = found.nearest(name)
        if trial is not None:
            why = ", ".join(f"{part} {value}" for part, value in trial.excess.items())
            tried[name] = {"figures": trial.figures(), "rejected": why}
        elif name in found.failed:
            tried[name] = {"figures": {}, "rejected": found.failed[name]}
    return tried
