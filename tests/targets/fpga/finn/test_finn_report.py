"""FINN's reports: the recorded estimate of a real run, and what a build and a board would leave beside it."""

from __future__ import annotations

import json

import pytest
from finn_rig import PYNQ, recorded

from edgekit.errors import BadInput
from edgekit.target import Board
from targets.fpga.finn.figure import Figure
from targets.fpga.finn.report import read_report

# FINN's formats with made-up numbers: no synthesis was run for these tests
RESOURCES = {
    "(top)": {"LUT": 20000, "SRL": 90, "FF": 21000, "BRAM_36K": 3, "BRAM_18K": 2, "DSP": 4},
    "MVAU_hls_0": {"LUT": 800, "SRL": 4, "FF": 700, "BRAM_36K": 1, "BRAM_18K": 0, "DSP": 0},
}
TIMING = """| Design Timing Summary
| ---------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
     -0.213       -1.050                      7                36864        0.012        0.000
"""
SIMULATION = [
    {"name": "out", "samples": 10, "intervals": [910], "latency_cycles": [1520], "throughput_fps": 109890.1}
]


@pytest.fixture
def build(tmp_path):
    return recorded(tmp_path)


def written(build, name, value):
    path = build / "output" / "report" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def test_the_estimate_of_a_real_run(build):
    found = read_report(build, PYNQ)
    assert found.fps.estimated == pytest.approx(111607.14)
    assert found.latency_ms.estimated == pytest.approx(0.02766)
    assert found.interval_cycles.estimated == 896
    assert {name: figure.estimated for name, figure in found.resources.items()} == {
        "lut": 27300,
        "bram18": 5,
        "dsp": 0,
        "uram": 0,
    }
    assert found.percent("lut").estimated == 51.3
    assert found.percent("uram") == Figure()
    assert (found.clock_mhz, found.target_fps) == (100.0, 100000)
    first = found.layers[1]
    assert (first.name, first.source, first.pe, first.simd) == ("MVAU_hls_0", "/2/MatMul", 1, 14)
    assert found.bottleneck == first
    assert [check.exact for check in found.checks] == [4, 4]


def test_what_was_not_taken_is_none_with_a_reason(build):
    told = read_report(build, PYNQ).to_json()
    assert told["fps"] == {"estimated": pytest.approx(111607.14), "synthesised": None, "measured": None}
    assert told["resources"]["lut"]["synthesised"] is None
    reasons = told["not_measured"]
    assert all(text.startswith(("not measured: ", "FINN has no model")) for text in reasons.values())
    assert "post_synth_resources.json" in reasons["resources.synthesised"]
    assert "nw_metrics.txt" in reasons["fps.measured"]
    assert json.loads(json.dumps(told)) == told


def test_a_layer_that_finn_cannot_model_has_no_figure(build):
    found = read_report(build, PYNQ)
    assert found.unmodelled == ("ElementwiseMul_hls_0",)
    assert found.layers[-1].resources["lut"].estimated is None
    assert "too low" in found.not_measured["layers.lut.estimated"]


def test_synthesis_and_simulation_stand_beside_the_estimate(build):
    written(build, "post_synth_resources.json", RESOURCES)
    written(build, "post_route_timing.rpt", TIMING)
    written(build, "rtlsim_performance.json", SIMULATION)
    found = read_report(build, PYNQ)
    assert found.resources["lut"].columns() == (27300, 20000, None)
    assert found.resources["bram18"].synthesised == 8
    assert found.percent("lut").synthesised == 37.6
    assert found.layers[1].resources["lut"].columns() == (1075, 800, None)
    assert found.fps.synthesised == pytest.approx(109890.1)
    assert found.latency_ms.synthesised == pytest.approx(0.0152)
    assert found.interval_cycles.synthesised == 910
    assert found.slack_ns == -0.213
    assert not {"slack_ns", "fps.synthesised", "resources.synthesised"} & set(found.not_measured)


def test_the_accelerator_alone_is_read_where_the_whole_was_not_placed(build):
    alone = {"LUT": 18000, "FF": 1, "BRAM_36K": 2, "BRAM_18K": 1, "DSP": 0, "WNS": 1.5, "fmax_mhz": 117.6}
    written(build, "ooc_synth_and_timing.json", alone)
    found = read_report(build, PYNQ)
    assert found.resources["lut"].synthesised == 18000
    assert found.resources["bram18"].synthesised == 5
    assert (found.slack_ns, found.fmax_mhz) == (1.5, 117.6)


def test_the_simulation_of_xilinxs_finn(build):
    written(
        build,
        "rtlsim_performance.json",
        {
            "cycles": 9,
            "throughput[images/s]": 5.0,
            "stable_throughput[images/s]": 8.0,
            "latency_cycles": 2000,
        },
    )
    found = read_report(build, PYNQ)
    assert (found.fps.synthesised, found.latency_ms.synthesised) == (8.0, pytest.approx(0.02))


@pytest.mark.parametrize(
    ("name", "text", "fps", "latency"),
    [
        (
            "nw_metrics.txt",
            "{'runtime[ms]': np.float64(0.5), 'throughput[images/s]': 2000.0, 'batch_size': 1}",
            2000,
            0.5,
        ),
        (
            "report_throughput_test.json",
            '{"runtime[ms]": 9, "throughput[images/s]": 90.5, "batch_size": 100}',
            90.5,
            None,
        ),
        (
            "report_experiment_instrumentation.json",
            '{"interval_cycles": 900, "latency_ms": 0.021, "avg_latency_ms": 0.02, "throughput_fps": 111000}',
            111000,
            0.02,
        ),
    ],
)
def test_the_board_speaks_through_any_drivers_file(build, name, text, fps, latency):
    (build / "board").mkdir()
    (build / "board" / name).write_text(text)
    found = read_report(build, PYNQ)
    assert (found.fps.measured, found.latency_ms.measured) == (fps, latency)
    assert found.fps.best == fps
    assert "fps.measured" not in found.not_measured


def test_broken_files_are_named(build):
    written(build, "post_synth_resources.json", "{")
    with pytest.raises(BadInput, match=r"post_synth_resources\.json: this is not JSON"):
        read_report(build, PYNQ)
    written(build, "post_synth_resources.json", {})
    (build / "nw_metrics.txt").write_text("__import__('os').remove('x')")
    with pytest.raises(BadInput, match="not what FINN's driver writes"):
        read_report(build, PYNQ)


def test_without_an_estimate_the_whole_builds_own_is_read(build):
    (build / "estimate").rename(build / "output")
    assert read_report(build, PYNQ).fps.estimated == pytest.approx(111607.14)
    (build / "output" / "report" / "estimate_layer_cycles.json").unlink()
    with pytest.raises(BadInput, match=r"estimate_layer_cycles\.json: there is no such file"):
        read_report(build, PYNQ)


def test_a_board_without_facts_has_no_percentages(build):
    found = read_report(build, Board("own", "Own", "fpga"))
    assert found.percent("lut") == Figure()
    assert found.to_json()["resources"]["lut"]["available"] is None
