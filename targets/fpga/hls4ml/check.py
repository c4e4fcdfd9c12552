"""Whether hls4ml's bit-accurate model of a QONNX file computes what QonnxRunner does, and what it cannot read.

Each quantizer keeps its own bits. What QONNX leaves in float (the input, BatchNorm, biases, scales that are no
power of two) becomes `PRECISION`. Where every scale is a power of two both sides are equal to the last bit, save
where float32 rounds a sum (an addition, a long one with a bias); with other scales they are equal but for that.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgekit.errors import BadInput
from targets.cpu.nodes import read
from targets.fpga.finn.check import FLIPS, Check, compare
from targets.fpga.hls4ml.environment import HLS4ML
from targets.fpga.qonnx_file import LAYER
from targets.fpga.runtime import QonnxRunner
from targets.fpga.tool import Environment, outside

PRECISION = "fixed<48,16>"
LIMIT = 2**15  # where PRECISION ends, sign included
QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant")


@dataclass(frozen=True)
class Agreement:
    """How far two programs agree on a file's outputs; `equal` counts samples without one different bit."""

    hls4ml: str
    equal: int
    check: Check
    build_seconds: float

    @property
    def passed(self) -> bool:
        """Whether most samples are exact but for float rounding, and single steps explain the others."""
        return self.check.passed and self.check.rms <= FLIPS

    def told(self) -> str:
        """In one line without a full stop."""
        verdict = "computes the same" if self.passed else "computes something else"
        return (
            f"hls4ml {self.hls4ml} {verdict}: {self.equal} of {self.check.samples} samples are equal to the last "
            f"bit, {self.check.exact} but for float rounding, the largest difference is {self.check.largest:.3g}"
        )


def check(path: Path, inputs: np.ndarray, *, folder: Path | None = None) -> Agreement:
    """Build hls4ml's model of a QONNX file and compare it with QonnxRunner on inputs [N, ...].

    folder: where the C++ stays; a temporary one unless given. BadInput where hls4ml does not take the file;
    EdgekitError where it is not installed.
    """
    refuse(read(Path(path)))
    found = HLS4ML.require()
    runner = QonnxRunner(Path(path))
    name, output = _ends(runner)
    if not np.abs(inputs).max(initial=0) < LIMIT:
        raise BadInput(
            f"hls4ml: the inputs are not within ±{LIMIT}, where {PRECISION} ends. Scale them down."
        )
    expected = runner.run({name: inputs})[output].reshape(len(inputs), -1)
    with tempfile.TemporaryDirectory(prefix="edgekit-hls4ml-") as made:
        got, seconds = _computed(found, Path(path), inputs, Path(made), folder or Path(made, "project"))
    equal = int((got == expected).all(axis=1).sum())
    return Agreement(found.release, equal, compare("hls4ml", got, expected), seconds)


def refuse(model: onnx.ModelProto) -> None:
    """BadInput naming the first layer that hls4ml stops at or, worse, computes otherwise than QONNX means."""
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for node in model.graph.node:
        for reason, remedy in _faults(node, constants):
            raise BadInput(f"hls4ml: '{_layer(node)}' {reason}. {remedy}.")


def _faults(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    if node.op_type == "Trunc":
        yield (
            "is an average that floors (Trunc), which it has no form of",
            "Pool by the maximum, or leave it out",
        )
    if node.op_type in QUANTIZERS and np.unique(constants.get(node.input[1], 0.0)).size > 1:
        yield "has a scale for each channel, which it cannot fold", "Set per_channel: false in the plan"
    if node.op_type == "BipolarQuant" and node.input[0] not in constants:
        yield "is a bipolar activation, behind which it computes other numbers", "Give it 2 bits in the plan"
    if node.op_type == "Conv" and any(rate > 1 for rate in _dilations(node)):
        yield "is dilated, and it computes a wrong size from that", "Use dilation=1"


def _dilations(node: onnx.NodeProto) -> list[int]:
    return [rate for item in node.attribute if item.name == "dilations" for rate in item.ints]


def _layer(node: onnx.NodeProto) -> str:
    return next((item.value for item in node.metadata_props if item.key == LAYER), node.name)


def _ends(runner: QonnxRunner) -> tuple[str, str]:
    signature = runner.signature
    if (len(signature.inputs), len(signature.outputs)) != (1, 1):
        raise BadInput(f"hls4ml: {runner.file} has more than one input or output. Export one of each.")
    return signature.inputs[0].name, signature.outputs[0].name


def _computed(
    found: Environment, path: Path, inputs: np.ndarray, made: Path, project: Path
) -> tuple[np.ndarray, float]:
    """The outputs [N, K] of hls4ml's model, and the seconds that g++ took."""
    np.save(made / "inputs.npy", inputs.astype(np.float32))
    files = {name: str(made / f"{name}.npy") for name in ("inputs", "outputs")}
    task = {"model": str(path.resolve()), "folder": str(project.resolve()), "precision": PRECISION, **files}
    (made / "task.json").write_text(json.dumps(task), encoding="utf-8")
    done = outside([str(found.python), "-I", str(HLS4ML.worker), str(made / "task.json")])
    told = _told(done.stdout)
    if done.returncode or "seconds" not in told:
        reason = str(told.get("failed", f"it ended with code {done.returncode}")).rstrip(".")
        raise BadInput(f"hls4ml: {path} cannot be built: {reason[:300]}. Leave that part of the model out.")
    return np.load(made / "outputs.npy"), float(told["seconds"])


def _told(output: str) -> dict[str, Any]:
    """The worker's last line; empty where it left none."""
    try:
        told = json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
