"""The folder that FINN builds from: model, configuration, verification arrays, a script and a README.

It follows FINN's own convention (model.onnx and dataflow_build_config.json side by side, paths relative to
them), so that it can be carried to a machine with Vivado and built there without edgekit.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import BadInput
from edgekit.target import Board
from targets.fpga.finn import steps

CONFIG = "dataflow_build_config.json"
FOLDING = "folding_config.json"
NARROW = 36  # bits of weights a cycle and element: finn-plus's own limit; Xilinx's FINN has another
FINN = "1.6.1"
VIVADO = "2022.2 or 2024.2"


@dataclass(frozen=True)
class Device:
    """What FINN must know of a board: its own name for it, the part, the shell, the clock in MHz."""

    name: str
    part: str
    finn_board: str = ""  # "" where FINN has no shell for the board: the build ends with the stitched IP
    shell: str = "vivado_zynq"
    clock_mhz: float = 100.0

    @classmethod
    def of(cls, board: Board) -> Device:
        """From a board's facts: part, and where they are there finn_board, shell_flow and clock_mhz."""
        facts = board.facts
        if not facts.get("part"):
            raise BadInput(f"boards: {board.name} has no fact 'part', which FINN needs. Add it to its file.")
        return cls(
            board.name,
            str(facts["part"]),
            str(facts.get("finn_board", "")),
            str(facts.get("shell_flow", "vivado_zynq")),
            float(facts.get("clock_mhz", 100.0)),
        )


def write_build(
    folder: Path,
    model: Path,
    device: Device,
    *,
    target_fps: float | None = None,
    folding: Path | None = None,
    inputs: np.ndarray | None = None,
    expected: np.ndarray | None = None,
) -> Path:
    """Write `folder`/finn_build for a QONNX file and return it.

    `inputs` [N, ...] and `expected` [N, ...] are what the trained network computes; with them FINN verifies
    every conversion. Without `target_fps` and `folding` a folding_config.json already in the folder is used.
    BadInput where there is neither (FINN would take PE = SIMD = 1 without a word), or the file or the arrays
    do not fit.
    """
    import onnx

    build = Path(folder) / "finn_build"
    graph = onnx.load(str(model)).graph
    shape = _input_shape(graph, model)
    _check_arrays(shape, inputs, expected)
    folding = folding or (build / FOLDING if target_fps is None and (build / FOLDING).is_file() else None)
    _check_folding(target_fps, folding)
    build.mkdir(parents=True, exist_ok=True)
    _copy(Path(model), build / "model.onnx")
    if folding is not None:
        _copy(folding, build / FOLDING)
    else:
        (build / FOLDING).unlink(missing_ok=True)
    config = _config(device, graph, target_fps, folded=folding is not None)
    if inputs is not None and expected is not None:
        np.save(build / "input.npy", inputs.astype(np.float32))
        np.save(build / "expected_output.npy", expected.astype(np.float32))
        config |= _verification(expected)
    (build / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (build / "build.py").write_text(SCRIPT, encoding="utf-8")
    (build / "README.md").write_text(_readme(device, config), encoding="utf-8")
    return build


def _config(device: Device, graph: Any, target_fps: float | None, *, folded: bool) -> dict[str, Any]:
    """The keys that finn-plus and Xilinx's FINN share, so that either can read the file."""
    kind = steps.kind_of(graph)
    config: dict[str, Any] = {
        "output_dir": "output",
        "synth_clk_period_ns": 1000.0 / device.clock_mhz,
        "mvau_wwidth_max": NARROW,
        "standalone_thresholds": kind == "residual",
        "fpga_part": device.part,
        "generate_outputs": [
            "estimate_reports",
            "stitched_ip",
            "rtlsim_performance",
            "out_of_context_synth",
        ],
    }
    if device.finn_board:
        config |= {"board": device.finn_board, "shell_flow_type": device.shell}
        config["generate_outputs"] += ["bitfile", "pynq_driver", "deployment_package"]
    if target_fps is not None:
        config["target_fps"] = math.ceil(target_fps)
    if folded:
        config["folding_config_file"] = FOLDING
    if kind == "residual":
        config["steps"] = steps.build_steps(kind)
    return config


def _verification(expected: np.ndarray) -> dict[str, Any]:
    """Where FINN verifies, and within what: float rounding of the largest output.

    FINN also divides by each expected output, which says nothing where one is zero: that limit is lifted.
    """
    limit = float(np.abs(expected).max()) * 1e-4
    return {
        "verify_steps": ["finn_onnx_python", "streamlined_python", "stitched_ip_rtlsim"],
        "verify_input_npy": "input.npy",
        "verify_expected_output_npy": "expected_output.npy",
        "verification_atol": limit,
        "verification_mean_atol": limit,
        "verification_mean_rtol": 1e9,
    }


def _check_folding(target_fps: float | None, folding: Path | None) -> None:
    if target_fps is None and folding is None:
        raise BadInput(
            "finn: neither a target frame rate nor a folding file is given, and FINN would then compute one "
            "product at a time. Give --budget fps=N, or a folding_config.json."
        )
    if target_fps is not None and not (target_fps > 0 and math.isfinite(target_fps)):
        raise BadInput(
            f"finn: a target of {target_fps} frames per second is no frame rate. Give one above 0."
        )
    if folding is not None and not folding.is_file():
        raise BadInput(f"finn: there is no folding file {folding}. Check the path.")


def _input_shape(graph: Any, model: Path) -> tuple[int, ...]:
    if not any(node.op_type in ("Quant", "BipolarQuant") for node in graph.node):
        raise BadInput(
            f"{model}: this is no QONNX file (it has no Quant node). Export with QONNX quantizers."
        )
    fixed = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in fixed]
    shapes = [tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim) for item in inputs]
    if len(shapes) != 1 or not shapes[0] or shapes[0][0] != 1 or 0 in shapes[0]:
        told = "; ".join(f"{item.name} {list(shape)}" for item, shape in zip(inputs, shapes, strict=True))
        raise BadInput(
            f"{model}: FINN takes one input of a fixed shape with batch 1, this has {told}. Export it so."
        )
    return shapes[0]


def _check_arrays(shape: tuple[int, ...], inputs: np.ndarray | None, expected: np.ndarray | None) -> None:
    if inputs is None and expected is None:
        return
    if inputs is None or expected is None:
        raise BadInput("finn: inputs and expected outputs verify together. Give both or neither.")
    if inputs.shape[1:] != shape[1:] or len(inputs) != len(expected) or not len(inputs):
        raise BadInput(
            f"finn: {len(inputs)} inputs of {list(inputs.shape[1:])} and {len(expected)} expected outputs do "
            f"not fit a network that takes {list(shape[1:])}. Give as many of each, of that shape."
        )


def _copy(source: Path, target: Path) -> None:
    if source.resolve() != target.resolve():
        shutil.copyfile(source, target)


SCRIPT = '''"""Build this accelerator with FINN: run it in this folder, where `import finn` works and Vivado is set up.

In FINN's container: ./run-docker.sh build_custom THIS_FOLDER
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.chdir(HERE)  # the configuration's paths are relative to it
os.environ.setdefault("FINN_BUILD_DIR", str(HERE / "work"))

from finn.builder.build_dataflow import build_dataflow_cfg  # noqa: E402
from finn.builder.build_dataflow_config import DataflowBuildConfig  # noqa: E402

config = DataflowBuildConfig.from_json((HERE / "dataflow_build_config.json").read_text())
sys.exit(build_dataflow_cfg(str(HERE / "model.onnx"), config))
'''


def _readme(device: Device, config: dict[str, Any]) -> str:
    product = "output/bitfile and output/deploy" if device.finn_board else "output/stitched_ip"
    aim = (
        f"{config['target_fps']} frames per second" if "target_fps" in config else f"the folding of {FOLDING}"
    )
    container = (
        "The steps of this network (it forks or averages) come with finn-plus; Xilinx's FINN lacks them."
        if "steps" in config
        else CONTAINER
    )
    return README.format(
        device=device.name,
        part=device.part,
        clock=f"{device.clock_mhz:g}",
        aim=aim,
        finn=FINN,
        vivado=VIVADO,
        container=container,
        product=product,
    )


CONTAINER = """In the container of Xilinx's FINN, from its checkout (FINN_XILINX_PATH and FINN_XILINX_VERSION set):

    ./run-docker.sh build_dataflow /path/to/finn_build
    ./run-docker.sh build_custom /path/to/finn_build        # the same through build.py"""

README = """# FINN build for {device}

Part {part}, {clock} MHz, {aim}. Written for finn-plus {finn} with Vivado and Vitis HLS {vivado}.

With finn-plus (Vivado's settings sourced), in this folder:

    pip install finn-plus=={finn}
    finn build dataflow_build_config.json model.onnx

{container}

The product lies in {product}; the reports in output/report. `edgekit` reads them back from there beside its
estimate. A verification that fails does not stop FINN: look for FAIL in output/verification_output.
"""
