"""Capabilities, lint and export."""

from __future__ import annotations

import errno
import os
import sys
import types

import numpy as np
import onnx
import pytest
from onnx_nets import Net, residual
from quantized_nets import quantized

from edgekit.errors import BadInput
from edgekit.quant.quantization import Quantization
from edgekit.target import Board, find_board
from targets.cpu import CpuTarget

TARGET = CpuTarget()
VNNI = Board("x", "x", "cpu", {"instruction_set": "avx512-vnni", "vector_bits": 512})


def test_caps_follow_the_instruction_set():
    vnni, avx2, arm = (TARGET.caps(find_board(name)) for name in ("x86-vnni", "x86-avx2", "arm64"))
    assert (vnni.activations.signed, avx2.activations.signed, arm.activations.signed) == (False, False, True)
    assert (vnni.activations.lowest, vnni.activations.highest) == (0, 255)
    assert (arm.activations.lowest, arm.activations.highest) == (-128, 127)
    assert (vnni.weights.lowest, vnni.weights.highest) == (-127, 127)
    assert (avx2.weights.lowest, avx2.weights.highest) == (-63, 63)
    assert (vnni.channel_multiple, avx2.channel_multiple, arm.channel_multiple) == (16, 8, 8)
    assert vnni.weights.per_channel
    assert not vnni.activations.per_channel
    assert vnni.bias == "int32"
    assert "VNNI" in vnni.expects
    with pytest.raises(BadInput, match="'z80' is unknown"):
        TARGET.caps(Board("z", "z", "cpu", {"instruction_set": "z80"}))


def lint(net, output, **options):
    return {finding.node: finding for finding in TARGET.lint(net.model(output, **options), TARGET.caps(VNNI))}


def test_a_good_net_has_no_findings():
    assert TARGET.lint(residual(), TARGET.caps(VNNI)) == []


def test_odd_channels_are_a_warning_but_not_the_heads():
    net = Net()
    found = lint(net, net.conv(net.conv("x", "odd", 15), "head", 10, inputs=15))
    assert set(found) == {"odd"}
    assert found["odd"].severity == "warning"
    assert "15 output channels" in found["odd"].what
    assert "7 %" in found["odd"].what
    assert "Use 16 or 16" not in found["odd"].remedy


def test_grouped_but_not_depthwise_convolutions():
    net = Net()
    found = lint(net, net.conv(net.conv("x", "depthwise", groups=16), "grouped", groups=4))
    assert set(found) == {"grouped"}
    assert "slower in int8" in found["grouped"].what


def test_batchnorm_that_stays():
    net = Net()
    output = net.batchnorm(
        net.node("Tanh", net.batchnorm(net.conv("x", "conv"), "fused"), name="tanh"), "alone"
    )
    found = lint(net, output)
    assert "fused" not in found
    assert "after Tanh 'tanh' is not fused" in found["alone"].what
    assert "no integer kernel" in found["tanh"].what


def test_padding_computed_at_run_time():
    net = Net()
    shape = net.node("Shape", "x", name="shape")
    pads = net.node("Sub", shape, net.constant("same", np.array([1, 16, 8, 8], np.int64)), name="sub")
    twice = net.node("Concat", pads, pads, name="twice", axis=0)
    found = lint(net, net.conv(net.node("Pad", "x", twice, name="pad"), "conv"))
    assert set(found) == {"pad"}
    assert "while the network runs" in found["pad"].what


def test_what_cannot_run_comes_first_as_an_error():
    net = Net()
    net.conv("x", "odd", 15)
    model = net.model(net.node("Frobnicate", "odd_out", name="odd_op"))
    found = TARGET.lint(model, TARGET.caps(VNNI))
    assert found[0].severity == "error"
    assert "Frobnicate" in found[0].what
    assert found[0].remedy.startswith("Export with standard")


def test_old_opset_and_unsettled_batchnorm():
    net = Net()
    found = TARGET.lint(
        net.model(net.batchnorm(net.conv("x", "conv"), "bn", settled=False), opset=11), TARGET.caps(VNNI)
    )
    assert any("opset 11" in finding.what for finding in found)
    assert any("not trained" in finding.what for finding in found)


def test_fp32_export_is_the_model_itself(tmp_path):
    model = residual()
    artefact = TARGET.export(model, None, VNNI, tmp_path / "deep/model.onnx")
    assert (artefact.precision, artefact.target, artefact.board) == ("fp32", "cpu", "x")
    assert onnx.load(artefact.path) == model
    assert [path.name for path in artefact.path.parent.iterdir()] == ["model.onnx"]


def test_int8_export_calls_the_writer_with_the_boards_caps(tmp_path, monkeypatch):
    made = onnx.load(quantized(residual(), tmp_path / "u8.onnx", signed=False))
    seen = {}

    def write_qdq(model, quantization, caps):
        seen.update(model=model, quantization=quantization, caps=caps)
        return made

    monkeypatch.setitem(sys.modules, "edgekit.quant.writer", types.SimpleNamespace(write_qdq=write_qdq))
    quantization = Quantization()
    artefact = TARGET.export(residual(), quantization, VNNI, tmp_path / "model.onnx")
    assert artefact.precision == "int8"
    assert seen["quantization"] is quantization
    assert seen["caps"] == TARGET.caps(VNNI)
    assert onnx.load(artefact.path) == made


def test_layers_left_in_float_are_in_the_precision(tmp_path, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "edgekit.quant.writer", types.SimpleNamespace(write_qdq=lambda model, *_: model)
    )
    assert TARGET.export(residual(), Quantization(), VNNI, tmp_path / "m.onnx").precision == "int8+fp32"


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match=r"the disk is full: .*model\.onnx needs .* MiB") as error:
        TARGET.export(residual(), None, VNNI, tmp_path / "model.onnx")
    assert "\n" not in str(error.value)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        TARGET.export(residual(), None, VNNI, tmp_path / "file/model.onnx")


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(BadInput, match="'int3' is not one of"):
        TARGET.export(residual(), Quantization(precision="int3"), VNNI, tmp_path / "m.onnx")


def test_fp16_export_runs_and_agrees(tmp_path):
    pytest.importorskip("edgekit.quant.half")
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 16, 8, 8)).astype(np.float32)}
    results = []
    for name, quantization in (("fp32", None), ("fp16", Quantization(precision="fp16"))):
        artefact = TARGET.export(residual(), quantization, VNNI, tmp_path / f"{name}.onnx")
        assert artefact.precision == name
        results.append(TARGET.runner(artefact.path).run(feeds)["head_out"].astype(np.float32))
    assert (tmp_path / "fp16.onnx").stat().st_size < 0.6 * (tmp_path / "fp32.onnx").stat().st_size
    np.testing.assert_allclose(results[1], results[0], rtol=0.02, atol=0.02)
