"""A network that is fed integers computes the very same numbers, and needs no thresholds for its input."""

from __future__ import annotations

import finn_nets
import numpy as np
import onnx
import pytest
from finn_rig import DEVICE, PYNQ, dense, needs_finn

from edgekit.errors import BadInput
from targets.fpga.finn.build import write_build
from targets.fpga.finn.estimate import estimate
from targets.fpga.finn.integer_input import integer_input
from targets.fpga.finn.report import read_report


def run(model, x):
    wrapper = pytest.importorskip(
        "qonnx.core.modelwrapper", reason="qonnx executes QONNX; it is not installed"
    )
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    wrapped = wrapper.ModelWrapper(model).transform(InferShapes())
    return next(iter(execute_onnx(wrapped, {wrapped.graph.input[0].name: x}).values()))


@pytest.mark.parametrize("signed", [1, 0])
@pytest.mark.parametrize("narrow", [1, 0])
def test_the_outputs_are_equal_to_the_last_bit(signed, narrow):
    model = dense(signed=signed, narrow=narrow)
    found = integer_input(model)
    halves = found.scale * (np.arange(6, dtype=np.float32) - 2.5)
    chance = np.random.default_rng(0)
    for x in (halves, chance.normal(size=6), chance.normal(size=6) * 100, np.zeros(6)):
        x = x.reshape(1, 2, 3).astype(np.float32)
        integers = found.quantize(x)
        assert np.array_equal(integers, np.round(integers))
        assert found.lowest <= integers.min()
        assert integers.max() <= found.highest
        assert np.array_equal(run(model, x), run(found.model, integers))


def test_the_file_says_which_integers_it_takes():
    found = integer_input(dense())
    note = found.model.graph.quantization_annotation[0]
    assert (note.tensor_name, note.quant_parameter_tensor_names[0].value) == ("x", "INT8")
    assert (found.dtype, found.bits, found.lowest, found.highest) == ("INT8", 8, -128, 127)
    assert integer_input(dense(signed=0, narrow=1)).highest == 254
    assert [node.op_type for node in found.model.graph.node][:2] == ["Flatten", "Mul"]


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_a_bipolar_input_is_sent_as_bits(scale):
    model = dense(first="BipolarQuant", scale=scale)
    found = integer_input(model)
    assert (found.dtype, found.bits, found.lowest, found.highest) == ("BINARY", 1, 0, 1)
    assert [node.op_type for node in found.model.graph.node][:3] == ["Flatten", "Mul", "Add"]
    x = np.array([[[-1.0, -0.0, 0.0], [1e-30, -1e-30, 7.0]]], np.float32)
    bits = found.quantize(x)
    assert bits.ravel().tolist() == [0, 1, 1, 1, 0, 1]
    assert np.array_equal(
        np.float32(found.scale) * bits + np.float32(found.offset), np.float32(scale) * np.sign(bits - 0.5)
    )
    assert np.array_equal(run(model, x), run(found.model, bits))


def test_the_given_model_is_left_as_it_is():
    model = dense()
    before = model.SerializeToString(deterministic=True)
    integer_input(model)
    assert model.SerializeToString(deterministic=True) == before


def test_pixels_divided_by_255_are_the_pixels():
    found = integer_input(dense(signed=0, scale=1 / 255))
    pixels = np.arange(256, dtype=np.float32)
    assert np.array_equal(found.quantize(pixels / np.float32(255)), pixels)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"zero": 3.0}, "has a zero point"),
        ({"scale": [0.1] * 6}, "has a scale a channel"),
        ({"rounding_mode": "FLOOR"}, "rounds by FLOOR"),
        ({"first": "BipolarQuant", "scale": [0.1] * 6}, "has a scale a channel"),
        ({"first": "Relu"}, "is taken by Relu relu, not by one input quantizer"),
    ],
)
def test_what_the_host_cannot_round_is_refused(change, why):
    with pytest.raises(BadInput, match=why):
        integer_input(dense(**change))


@needs_finn
@pytest.mark.parametrize(
    ("make", "fps", "lut"),
    [
        (finn_nets.tfc, 100000, 2212),
        (finn_nets.cnv, 1000, 6916),
        (lambda folder: finn_nets.residual(folder, blocks=1), 1000, 1644),
    ],
)
def test_finn_builds_no_thresholds_for_the_input(make, fps, lut, tmp_path):
    net = make(tmp_path)
    found = integer_input(onnx.load(net.path))
    onnx.save(found.model, tmp_path / "integers.onnx")
    build = write_build(
        tmp_path,
        tmp_path / "integers.onnx",
        DEVICE,
        target_fps=fps,
        inputs=found.quantize(net.inputs),
        expected=net.expected,
    )
    done = estimate(build)
    assert all(check.passed for check in done.checks)
    told = read_report(build, PYNQ)
    assert not told.layers[0].name.startswith("Thresholding")
    assert told.resources["lut"].estimated == pytest.approx(lut, rel=5e-3)
