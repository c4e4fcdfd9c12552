"""Real estimates: FINN's figures reproduced, both verifications, and what a failure says."""

from __future__ import annotations

import json
import time

import finn_nets
import numpy as np
import onnx
import pytest
from finn_rig import DEVICE, PYNQ, RECORDED, dense, needs_finn

from edgekit.errors import BadInput, EdgekitError
from targets.fpga.finn import check, estimate, report
from targets.fpga.finn.build import CONFIG, write_build


def built(net, folder, fps, **options):
    return write_build(
        folder, net.path, DEVICE, target_fps=fps, inputs=net.inputs, expected=net.expected, **options
    )


# name: (net, asked fps, fps, latency ms, LUT, BRAM18, DSP) on a Pynq-Z1 at 100 MHz
FIGURES = {
    "TFC W2A2": (finn_nets.tfc, 100000, 111607, 0.02766, 27300, 5, 0),
    "CNV W4A4": (finn_nets.cnv, 1000, 1206, 4.772, 7428, 24, 1),
    "CNV W2A2": (lambda folder: finn_nets.cnv(folder, 2), 1000, 1206, 5.023, 5500, 14, 0),
    "CNV W8A8": (lambda folder: finn_nets.cnv(folder, 8), 1000, 1206, 4.643, 12932, 48, 1),
    "CNV W4A4 + padding": (lambda folder: finn_nets.cnv(folder, 4, 1), 1000, 1017, 6.570, 8844, 44, 1),
    "pooled W4A4": (finn_nets.pooled, 1000, 1206, 4.614, 3354, 11, 39),
    "residual W4A4": (finn_nets.residual, 1000, 1356, 3.851, 2991, 6, 10),
}


@needs_finn
@pytest.mark.parametrize("name", FIGURES)
def test_all_steps_run_and_both_verifications_pass(name, tmp_path):
    make, asked, fps, latency, lut, bram, dsp = FIGURES[name]
    said = []
    build = built(make(tmp_path), tmp_path, asked)
    done = estimate.estimate(build, say=said.append)
    assert [check.after for check in done.checks] == ["conversion", "streamlining"]
    assert all(check.passed and check.samples == finn_nets.SAMPLES for check in done.checks)
    assert said[0].endswith("qonnx to finn")
    assert said[0].startswith("finn 1/")
    found = report.read_report(build, PYNQ)
    assert found.fps.estimated == pytest.approx(fps, abs=1)
    assert found.latency_ms.estimated == pytest.approx(latency, rel=1e-3)
    # thresholds follow the trained weights and may take a bit more or less
    assert found.resources["lut"].estimated == pytest.approx(lut, rel=5e-3)
    assert (found.resources["bram18"].estimated, found.resources["dsp"].estimated) == (bram, dsp)
    assert found.layers[-2].source.endswith(("/MatMul", "/Gemm"))


@needs_finn
def test_a_layer_that_finn_cannot_map_is_named_with_its_name_in_the_file(tmp_path):
    build = built(finn_nets.pooled(tmp_path, quantized=False), tmp_path, 1000)
    with pytest.raises(EdgekitError) as caught:
        estimate.estimate(build)
    told = str(caught.value)
    assert told.startswith(
        "finn: create dataflow partition failed at MatMul_0 (/17/MatMul): Unsupported/unmapped"
    )
    assert (build / "estimate" / "intermediate_models" / "step_convert_to_hw.onnx").is_file()
    assert "Unsupported" in (build / "estimate" / "build_dataflow.log").read_text()


@needs_finn
def test_a_network_that_computes_something_else_is_refused(tmp_path):
    net = finn_nets.tfc(tmp_path)
    wrong = finn_nets.Net(net.path, net.inputs, np.roll(net.expected, 1, axis=1))
    with pytest.raises(EdgekitError, match="after conversion the network computes something else"):
        estimate.estimate(built(wrong, tmp_path, 100000))


@needs_finn
def test_a_network_is_folded_again_without_the_first_steps(tmp_path):
    build = built(finn_nets.tfc(tmp_path), tmp_path, 1000)
    slow = estimate.estimate(build)
    fast = estimate.refold(slow, build / "estimate_fast", 100000)
    assert next(iter(fast.seconds)) == "target fps parallelization"
    found = report.read_report(build, PYNQ, output="estimate_fast")
    assert found.fps.estimated > 100000 > report.read_report(build, PYNQ).fps.estimated
    assert found.target_fps == 100000
    assert [layer.source for layer in found.layers] == [
        layer.source for layer in report.read_report(build, PYNQ).layers
    ]


@needs_finn
def test_a_folding_file_is_used_whole_or_refused(tmp_path):
    net = finn_nets.tfc(tmp_path)
    good = json.loads((RECORDED / "estimate" / "report" / "auto_folding_config.json").read_text())
    own = tmp_path / "own.json"

    def folded(layers):
        own.write_text(json.dumps(layers))
        return write_build(tmp_path, net.path, DEVICE, folding=own)

    build = folded(good)
    estimate.estimate(build)
    assert report.read_report(build, PYNQ).fps.estimated == pytest.approx(111607, abs=1)
    wrong = {name.replace("hls_1", "hls_7"): row for name, row in good.items()}
    with pytest.raises(
        EdgekitError, match="names MVAU_hls_7, which the network lacks and leaves out MVAU_hls_1"
    ):
        estimate.estimate(folded(wrong))
    uneven = {**good, "MVAU_hls_1": {**good["MVAU_hls_1"], "SIMD": 7}}
    with pytest.raises(EdgekitError, match=r"at MVAU_hls_1 \(/5/MatMul\).*must be divisable by SIMD"):
        estimate.estimate(folded(uneven))


@needs_finn
def test_it_ends_when_its_time_is_up(tmp_path):
    onnx.save(dense(), tmp_path / "net.onnx")
    build = write_build(tmp_path, tmp_path / "net.onnx", DEVICE, target_fps=1)
    start = time.monotonic()
    with pytest.raises(EdgekitError, match=r"importing FINN was not done after 0\.2 s"):
        estimate.estimate(build, timeout=0.2)
    assert time.monotonic() - start < 5


def test_a_build_folder_must_be_there_and_have_a_folding(tmp_path):
    with pytest.raises(BadInput, match="Write the build folder first"):
        estimate.estimate(tmp_path)
    (tmp_path / CONFIG).write_text('{"output_dir": "output"}')
    with pytest.raises(BadInput, match="neither target_fps nor folding_config_file"):
        estimate.estimate(tmp_path)


def test_an_absent_environment_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_FINN", str(tmp_path / "none"))
    onnx.save(dense(), tmp_path / "net.onnx")
    build = write_build(tmp_path, tmp_path / "net.onnx", DEVICE, target_fps=1)
    with pytest.raises(EdgekitError, match="edgekit doctor --install fpga"):
        estimate.estimate(build)


def test_what_a_flipped_quantizer_step_changes_is_no_fault():
    expected = np.random.default_rng(0).normal(size=(4, 10))
    assert check.compare("conversion", expected, expected).exact == 4
    one = expected.copy()
    one[2] += 0.4
    assert check.compare("conversion", one, expected).passed
    assert check.compare("conversion", expected + 0.01 * one, expected).passed
    assert not check.compare("conversion", expected + one, expected).passed
    assert not check.compare("conversion", np.roll(expected, 1, axis=1), expected).passed


def test_of_two_equal_outputs_either_is_the_class():
    expected = np.array([[1.0, 1.0, 0.0]])
    assert check.compare("conversion", np.array([[1.0, 1.0 + 1e-7, 0.0]]), expected).same_class == 1
    assert check.compare("conversion", np.array([[0.5, 0.4, 0.9]]), expected).same_class == 0
