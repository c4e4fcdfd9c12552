"""What an FPGA's tools get beside the artefact: a FINN build folder fed with integers, and FINN's estimate of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx

from edgekit.errors import BadInput, EdgekitError
from edgekit.export.file import write
from edgekit.target import Aims, Board
from targets.fpga.finn.budget import Budget
from targets.fpga.finn.build import Device, write_build
from targets.fpga.finn.environment import FINN
from targets.fpga.finn.estimate import estimate
from targets.fpga.finn.integer_input import QUANTIZERS, IntegerInput, integer_input
from targets.fpga.finn.report import read_report
from targets.fpga.finn.search import FIRST, search
from targets.fpga.hls4ml.check import check as check_by_hls4ml
from targets.fpga.hls4ml.environment import HLS4ML

INTEGERS = "model_integers.onnx"
INPUT = "input.json"


def check(board: Board, aims: Aims, graph: onnx.ModelProto) -> None:
    """BadInput where nothing says how fast the accelerator is to be, or where `accompany` could write no build folder.

    Without a rate or a folding FINN would take one product at a time.
    """
    if aims.fps is None and aims.folding is None and not aims.limits:
        raise BadInput(
            f"{board.name}: neither a frame rate nor a folding is asked for, and FINN would compute one product at a "
            "time. Add budget: {fps: 1000}, or folding: FILE."
        )
    if aims.folding is not None and not aims.folding.is_file():
        raise BadInput(f"folding: there is no file '{aims.folding}'. Check the path.")
    if not _quantized(graph):
        return
    with tempfile.TemporaryDirectory(prefix="edgekit-dry-") as folder:
        write(integer_input(graph).model, Path(folder) / INTEGERS)
        write_build(Path(folder), Path(folder) / INTEGERS, Device.of(board), target_fps=FIRST)


def accompany(
    folder: Path,
    golden: Mapping[str, np.ndarray],
    board: Board,
    aims: Aims,
    say: Callable[[str], None],
) -> None:
    """Write `finn_build/` for the folder's model.onnx, and estimate it where FINN is installed.

    Its input is the integers of the network's input quantizer; input.json says how the host makes them.
    """
    model = onnx.load(folder / "model.onnx")
    if not _quantized(model):
        return  # there is no accelerator to build
    given = integer_input(model)
    write(given.model, folder / INTEGERS)
    name, device = model.graph.input[0].name, Device.of(board)
    (folder / INPUT).write_text(_input_json(name, given), encoding="utf-8")
    inputs, expected = given.quantize(golden[name]), golden[model.graph.output[0].name]

    def build_of(bits: object, fps: float | None) -> Path:
        folding = aims.folding if fps is None else None
        options = {"inputs": inputs, "expected": expected, "folding": folding}
        return write_build(folder, folder / INTEGERS, device, target_fps=fps, **options)  # type: ignore[arg-type]

    _second_proof(folder / "model.onnx", golden[name], say)
    finn = FINN.find()
    build = build_of(None, aims.fps if aims.fps is not None or aims.folding is not None else FIRST)
    if finn is None:
        say(f"not estimated: {FINN.probe()}. Run: {FINN.command} ({FINN.size})")
        return
    if aims.fps is None and not aims.limits:
        estimate(build, finn=finn, say=say)
    else:
        found = search(build_of, board, Budget(aims.fps, **aims.limits), finn=finn, say=say)
        say(found.missed or f"folded for {found.best.target_fps} frames per second, within the budget")
    report = read_report(build, board)
    for verified in report.checks:
        say(verified.told())
    (build / "report.json").write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")


def _quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type in QUANTIZERS for node in model.graph.node)


def _second_proof(path: Path, inputs: np.ndarray, say: Callable[[str], None]) -> None:
    """hls4ml's own reading of the file, compiled, where hls4ml is installed and has a form for it."""
    if HLS4ML.find() is None:
        return
    try:
        say(check_by_hls4ml(path, inputs).told())
    except EdgekitError as error:
        say(f"no second proof: {error}")


def _input_json(name: str, given: IntegerInput) -> str:
    content = {
        "name": name,
        "formula": given.formula,
        "scale": given.scale,
        "offset": given.offset,
        "dtype": given.dtype,
        "lowest": given.lowest,
        "highest": given.highest,
    }
    return json.dumps(content, indent=1) + "\n"
