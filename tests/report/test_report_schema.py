"""report.json: the fields are there, a null has its reason, and what is wrong is named in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_sample import content, report

from edgekit.change import Cost
from edgekit.errors import BadInput
from edgekit.metric import Score
from edgekit.profile import OperatorTime
from edgekit.report import Measured, validate_report
from edgekit.report.report import paired_operators, read_report


def test_the_fields_are_those_of_the_design() -> None:
    value = content()
    assert {
        "schema",
        "board",
        "target",
        "model",
        "seed",
        "versions",
        "baseline",
        "result",
        "audit",
        "steps",
    } <= set(value)
    measured = {
        "metric",
        "params",
        "macs",
        "bytes",
        "latency_ms",
        "throughput",
        "peak_memory_bytes",
        "energy",
        "not_measured",
    }
    assert set(value["baseline"]) == measured
    assert set(value["result"]) == measured | {"artefact", "precision"}
    assert set(value["baseline"]["latency_ms"]) == {
        "min",
        "mean",
        "p50",
        "p90",
        "p99",
        "n",
        "threads",
        "batch",
    }
    assert set(value["baseline"]["metric"]) == {"name", "value", "n", "ci95", "higher_is_better", "of"}
    assert set(value["steps"][0]) == {"name", "change", "metrics"}


def test_saving_and_reading_gives_the_same(tmp_path: Path) -> None:
    saved = report().save(tmp_path)
    assert read_report(tmp_path) == saved == json.loads((tmp_path / "report.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def at(value: Any, path: str) -> tuple[Any, Any]:
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("/"))
    for part in parents:
        value = value[part]
    return value, last


@pytest.mark.parametrize(
    ("path", "wrong", "message"),
    [
        ("schema", 2, r"report.schema is 2, not 1"),
        ("board", None, r"report.board is None, not a string"),
        ("seed", True, r"report.seed is True, not a whole number"),
        ("versions/torch", 2.13, r"report.versions.torch is 2.13, not a string"),
        ("baseline/latency_ms", None, r"report.baseline.latency_ms is null without a reason"),
        ("baseline/not_measured/energy", "", r"report.baseline.energy is null without a reason"),
        ("result/not_measured/bytes", "lost", r"report.result.bytes has a value and a reason"),
        ("result/throughput", 0, r"report.result.throughput is 0, not a number above 0"),
        ("result/latency_ms/p50", 0.0, r"p50 is 0.0, not a number above 0"),
        ("result/latency_ms/p90", 0.01, r"not min <= p50 <= p90 <= p99"),
        ("result/latency_ms/p99", float("nan"), r"p99 is nan, not a finite number"),
        ("result/metric/ci95", [0.9, 0.8], r"not \[low, high\] in this order"),
        ("result/metric/higher_is_better", 1, r"higher_is_better is 1, not true or false"),
        ("result/artefact", None, r"report.result.artefact is None"),
        ("audit", None, r"report.audit is null without a reason"),
        ("audit/stray_qdq", -1, r"report.audit.stray_qdq is -1"),
        ("ratio/latency", None, r"report.ratio.latency is null without a reason"),
        ("drop", None, r"report.drop is null without a reason"),
        ("steps/1/change/after/macs", 1.5, r"report.steps\[1\].change.after.macs is 1.5"),
        ("steps/0/metrics/metric", None, r"report.steps\[0\].metrics.metric is null without a reason"),
        ("kept_in_float/0/int8_us", "2", r"report.kept_in_float\[0\].int8_us is '2'"),
        ("findings", {}, r"report.findings is \{\}, not a list"),
    ],
)
def test_a_wrong_field_is_named(path: str, wrong: Any, message: str) -> None:
    value = content()
    holder, name = at(value, path)
    holder[name] = wrong
    with pytest.raises(BadInput, match=message) as caught:
        validate_report(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "verdict",
        "baseline",
        "result/metric/n",
        "steps/2/change/notes",
        "audit/nodes",
        "ratio/size",
        "baseline/not_measured",
    ],
)
def test_a_missing_field_is_named(path: str) -> None:
    value = content()
    holder, name = at(value, path)
    del holder[name]
    with pytest.raises(BadInput, match=f"{name} is missing"):
        validate_report(value)


@pytest.mark.parametrize("value", [None, [], "report", 3])
def test_what_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match="not an object"):
        validate_report(value)


def test_a_null_with_its_reason_is_right_and_growth_is_allowed() -> None:
    value = content()
    value["result"]["peak_memory_bytes"] = None
    value["result"]["not_measured"]["peak_memory_bytes"] = "the process could not be started"
    value["audit"], value["not_measured"]["audit"] = None, "this target has none"
    value["later"] = {"more": 1}
    validate_report(value)


def test_measured_gives_each_absent_field_its_reason_and_no_other() -> None:
    score = Score("accuracy", 0.5, 4, None, True, "torch", samples=np.array([0, 1, 0, 1]))
    measured = Measured.of(
        score=score, cost=Cost(10, 20, 40), reasons={"latency_ms": "not asked", "metric": "x"}
    )
    assert measured.metric == {
        "name": "accuracy",
        "value": 0.5,
        "n": 4,
        "ci95": None,
        "higher_is_better": True,
        "of": "torch",
    }
    assert (measured.params, measured.macs, measured.bytes) == (10, 20, 40)
    assert set(measured.not_measured) == {"latency_ms", "throughput", "peak_memory_bytes", "energy"}
    assert measured.not_measured["latency_ms"] == "not asked"
    assert Measured.of(cost=Cost(10, 20, 40), bytes=123).bytes == 123


def test_layers_are_paired_by_name_and_summed() -> None:
    before = [
        OperatorTime("c1", "conv", "Conv", 8.0, 0.8),
        OperatorTime("b1", "conv", "BatchNormalization", 2.0, 0.2),
    ]
    after = [
        OperatorTime("q1", "conv", "QLinearConv", 3.0, 0.75),
        OperatorTime("q2", "", "QuantizeLinear", 1.0, 0.25),
    ]
    assert paired_operators(before, after) == [
        {"layer": "conv", "operator": "QLinearConv", "baseline_us": 10.0, "result_us": 3.0},
        {"layer": "q2", "operator": "QuantizeLinear", "baseline_us": None, "result_us": 1.0},
    ]


def test_a_folder_without_a_report_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"report.json' cannot be read"):
        read_report(tmp_path)


def test_a_report_of_two_real_measurements(tmp_path: Path) -> None:
    """Two networks, 4x apart in work, profiled: the report holds what was measured."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from edgekit.profile import profile

    measured, feeds = {}, {"x": np.zeros((1, 512), np.float32)}
    for name, width in (("baseline", 2048), ("result", 512)):
        weight = onnx.numpy_helper.from_array(np.full((512, width), 0.01, np.float32), "w")
        tensor = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="head")],
            name,
            [tensor("x", 1, [1, 512])],
            [tensor("y", 1, [1, width])],
            [weight],
        )
        path = tmp_path / f"{name}.onnx"
        onnx.save(
            onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9),
            path,
        )
        seen = profile(path, feeds, seconds=0.1, warmup=0.05)
        cost = Cost(512 * width, 512 * width, 4 * 512 * width)
        measured[name] = (
            Measured.of(cost=cost, profile=seen, bytes=path.stat().st_size, reasons={"metric": "no labels"}),
            seen.operators,
        )
    value = report(
        baseline=measured["baseline"][0],
        result=measured["result"][0],
        precision="fp32",
        drop=None,
        not_measured={"drop": "no labels"},
        budget={},
        operators=tuple(paired_operators(measured["baseline"][1], measured["result"][1])),
    ).save(tmp_path)
    assert value["result"]["bytes"] < value["baseline"]["bytes"] / 3.9
    assert value["result"]["latency_ms"]["p50"] < value["baseline"]["latency_ms"]["p50"]
    assert value["operators"][0]["result_us"] < value["operators"][0]["baseline_us"]
    assert value["result"]["not_measured"]["metric"] == "no labels"
