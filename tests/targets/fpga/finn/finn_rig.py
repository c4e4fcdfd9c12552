"""What the FINN tests share: FINN where it is installed, a board, the recorded build folder, small QONNX graphs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.target import find_board
from targets.fpga.finn.build import Device
from targets.fpga.finn.environment import FINN

PYNQ = find_board("pynq-z1")
DEVICE = Device.of(PYNQ)
RECORDED = Path(__file__).parent / "data" / "tfc" / "finn_build"

needs_finn = pytest.mark.skipif(bool(FINN.probe()), reason=f"{FINN.probe()}")


def recorded(folder: Path) -> Path:
    """A copy of the build folder of a real estimate: TFC 196-64-64-64-10 with 2 bits for 100,000 fps."""
    return Path(shutil.copytree(RECORDED, folder / "finn_build"))


def dense(*, first: str = "Quant", add: bool = False, batch: int = 1, **quantizer) -> object:
    """An onnx.ModelProto with an input quantizer, one MatMul of quantized weights, and an Add on request."""
    settings = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    settings |= {key: value for key, value in quantizer.items() if key in settings}
    values = {
        "scale": np.float32(quantizer.get("scale", 0.0078)),
        "zero": np.float32(quantizer.get("zero", 0.0)),
        "bits": np.float32(8.0),
        "four": np.float32(4.0),
        "nought": np.float32(0.0),
        "weight": np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32),
        "step": np.float32(0.3),
    }
    domain = "qonnx.custom_op.general"
    entries = {
        "Quant": helper.make_node(
            "Quant", ["flat", "scale", "zero", "bits"], ["q"], "input_quant", domain=domain, **settings
        ),
        "BipolarQuant": helper.make_node(
            "BipolarQuant", ["flat", "scale"], ["q"], "input_quant", domain=domain
        ),
        "Relu": helper.make_node("Relu", ["flat"], ["q"], "relu"),
    }
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], "flatten", axis=1),
        entries[first],
        helper.make_node(
            "Quant", ["weight", "step", "nought", "four"], ["w"], "weights", domain=domain, **settings
        ),
        helper.make_node("MatMul", ["q", "w"], ["m"], "fc"),
        helper.make_node("Add", ["m", "q"], ["y"], "add")
        if add
        else helper.make_node("Relu", ["m"], ["y"], "relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid(domain, 1)]
    )
