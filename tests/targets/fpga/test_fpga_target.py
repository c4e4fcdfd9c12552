"""The target: capabilities, export, audit and precision of QONNX files."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from low_bit_nets import GREY, built, example
from onnx import TensorProto, helper, numpy_helper

from edgekit.errors import BadInput
from edgekit.quant.quantization import Quantization
from edgekit.target import Board
from edgekit.testing.sample import sample_graph
from targets.fpga import FpgaTarget
from targets.fpga.audit import layer_bits, precision_of
from tests.paths import shared

TARGET = FpgaTarget()
BOARD = Board("x", "x", "fpga")


def test_caps_are_finn_s():
    caps = TARGET.caps(BOARD)
    assert (caps.activations.bits, caps.activations.lowest, caps.activations.highest) == (8, 0, 255)
    assert (caps.weights.lowest, caps.weights.highest) == (-127, 127)
    assert (caps.bias, caps.fuse_batchnorm, caps.opset, caps.precisions) == ("float", False, 13, ("int8",))
    assert {"Conv", "MatMul", "Add"} <= caps.operators
    assert "estimates" in caps.expects


def test_importing_the_target_imports_nothing_heavy():
    code = (
        "import sys, targets.fpga; from edgekit.target import Board; "
        "targets.fpga.FpgaTarget().caps(Board('x', 'x', 'fpga')); "
        "print({'torch', 'onnx', 'brevitas', 'qonnx'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_float_graph_is_written_and_runs(tmp_path):
    graph = sample_graph()
    artefact = TARGET.export(graph, None, BOARD, tmp_path / "deep/model.onnx")
    assert (artefact.target, artefact.board, artefact.precision) == ("fpga", "x", "fp32")
    assert onnx.load(artefact.path) == graph
    outputs = TARGET.runner(artefact.path).run({"input": np.zeros((2, 3, 16, 16), np.float32)})
    assert outputs["output"].shape == (2, 4)
    audit = TARGET.audit(artefact.path)
    assert (audit.integer_compute_nodes, len(audit.findings)) == (0, 1)
    assert "no quantizer" in audit.findings[0].what


def test_a_quantization_is_refused_in_one_line(tmp_path):
    with pytest.raises(BadInput, match="FINN reads QONNX"):
        TARGET.export(sample_graph(), Quantization(), BOARD, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def low_bit(name: str, **plan) -> onnx.ModelProto:
    pytest.importorskip("brevitas", reason="low-bit networks need brevitas (edgekit[fpga])")
    from edgekit.quant.brevitas_layers import calibrate, swap
    from targets.fpga.qonnx_file import to_qonnx

    low = swap(built(name), example(), plan)
    calibrate(low, [torch.randn(8, *GREY)])
    return to_qonnx(low, example())


@pytest.mark.parametrize(
    ("name", "plan", "precision", "layers"),
    [
        ("tfc", {}, "W4A4-8", 4),
        ("tfc", {"weights": 1, "activations": 1, "input": 1}, "W1A1", 4),
        ("cnv", {"weights": 2, "activations": 3, "input": 3, "first": {"weights": 8}}, "W2-8A3", 9),
        ("forms", {"weights": 4, "activations": 4, "input": 4, "pooled": 4}, "W4A4", 5),
    ],
)
def test_a_low_bit_network_is_all_integer(name, plan, precision, layers, tmp_path):
    model = low_bit(name, **plan)
    artefact = TARGET.export(model, None, BOARD, tmp_path / "model.onnx")
    assert artefact.precision == precision
    assert onnx.load(artefact.path) == model
    audit = TARGET.audit(artefact.path)
    assert (audit.float_compute_nodes, audit.stray_qdq, audit.findings) == (0, 0, ())
    assert len(layer_bits(model)) == layers
    assert audit.integer_compute_nodes >= layers
    heavy = [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert {audit.placement[name] for name in heavy} == {"integer"}
    norms = [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert {audit.placement[name] for name in norms} == {"moved away"}


def test_bits_are_told_layer_by_layer():
    model = low_bit("tfc", weights=2, activations=3, last={"weights": 8})
    assert [(item.layer, item.weights, item.activations) for item in layer_bits(model)] == [
        ("hidden.0", 2, 8),
        ("hidden.3", 2, 3),
        ("hidden.6", 2, 3),
        ("fc", 8, 3),
    ]


@pytest.mark.parametrize(("name", "precision"), [("TFC_1W1A", "W1A1"), ("TFC_2W2A", "W2A2")])
def test_published_networks_are_all_integer(name, precision):
    path = shared("qonnx-zoo") / f"{name}.onnx"
    audit = TARGET.audit(path)
    assert (audit.float_compute_nodes, audit.integer_compute_nodes, audit.findings) == (0, 4, ())
    assert precision_of(onnx.load(path)) == precision


def graph_of(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    """x [1, 4, 8, 8] -> nodes -> y."""
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None)  # noqa: E731
    scalars = {"s": 0.5, "z": 0.0, "four": 4.0, "nine": 9.0, "one": 1.0}
    arrays = {**scalars, "w": np.ones((4, 4, 1, 1)), **constants}
    tensors = [numpy_helper.from_array(np.asarray(item, np.float32), name) for name, item in arrays.items()]
    graph = helper.make_graph(list(nodes), "g", [value("x")], [value("y")], tensors)
    return helper.make_model(graph)


def quant(data: str, made: str, bits: str = "four", zero: str = "z") -> onnx.NodeProto:
    return helper.make_node(
        "Quant", [data, "s", zero, bits], [made], name=f"{made}_quant", domain="qonnx.custom_op.general"
    )


def op(kind: str, *inputs: str, made: str, **attributes) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [made], name=made, **attributes)


WEIGHT = quant("w", "qw")
INPUT = quant("x", "q")


@pytest.mark.parametrize(
    ("nodes", "node", "what"),
    [
        ([WEIGHT, op("Conv", "x", "qw", made="y")], "y", "its input has no quantizer"),
        ([INPUT, op("Conv", "q", "w", made="y")], "y", "its weight has no quantizer"),
        ([INPUT, op("Sigmoid", "q", made="y")], "y", "Sigmoid stays in float"),
        ([INPUT, op("Relu", "q", made="y")], "y", "no quantizer follows"),
        ([INPUT, op("GlobalAveragePool", "q", made="y")], "y", "no truncation follows"),
        (
            [
                INPUT,
                op("Relu", "q", made="r"),
                op("MaxPool", "r", made="m", kernel_shape=[2, 2]),
                quant("m", "y"),
            ],
            "m",
            "pools what is not quantized",
        ),
        ([INPUT, op("Add", "q", "x", made="a"), quant("a", "y")], "a", "an operand is not quantized"),
        (
            [
                INPUT,
                op("MaxPool", "q", made="m", kernel_shape=[2, 2]),
                op("AveragePool", "m", made="a", kernel_shape=[2, 2]),
                quant("a", "y"),
            ],
            "a",
            "at the node in front, which is no quantizer",
        ),
        ([quant("x", "y", bits="nine")], "y_quant", "an activation of 9 bits would need 511 thresholds"),
        ([quant("x", "y", zero="one")], "y_quant", "a zero point, which FINN does not have"),
        ([INPUT, op("QuantizeLinear", "q", "s", made="y")], "y", "FINN does not read QuantizeLinear"),
        (
            [
                op("BipolarQuant", "x", "s", made="q", domain="qonnx.custom_op.general"),
                WEIGHT,
                op("Conv", "q", "qw", made="y", pads=[1, 1, 1, 1]),
            ],
            "y",
            "it pads bipolar values",
        ),
        (
            [
                INPUT,
                op("AveragePool", "q", made="a", kernel_shape=[2, 2]),
                op(
                    "Trunc",
                    "a",
                    "s",
                    "z",
                    "four",
                    "four",
                    made="y",
                    domain="qonnx.custom_op.general",
                    rounding_mode="ROUND",
                ),
            ],
            "y",
            "a truncation that rounds by ROUND",
        ),
    ],
)
def test_what_finn_would_refuse_is_found(nodes, node, what, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(graph_of(*nodes), path)
    found = {finding.node: finding for finding in TARGET.audit(path).findings}
    assert what in found[node].what
    assert found[node].severity == "error"
    assert found[node].remedy


def test_mixed_precision_says_so():
    mixed = graph_of(
        INPUT, WEIGHT, op("Conv", "q", "qw", made="c"), op("Conv", "c", "w", made="y"), quant("y", "z2")
    )
    assert precision_of(mixed) == "W4A4+fp32"
