"""The metrics of a report: taken from its figures, checked when read, shown in one table."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from report_sample import content, report

from edgekit.errors import BadInput
from edgekit.report import validate_report, write_compare_html, write_html
from edgekit.report.html import view
from edgekit.report.metrics import metric_rows, metrics_of_report, shown
from edgekit.report.report import read_report


def of(value: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in metrics_of_report(value)}


def away(**changes: Any) -> dict[str, Any]:
    """A report of a board that is not the machine that wrote it."""
    value = content()
    for name in ("latency_ms", "throughput", "peak_memory_bytes"):
        value["result"][name] = None
        value["result"]["not_measured"][name] = "it is not the machine that ran this"
    return {**value, **changes}


def figure(name: str, value: float | None, unit: str, how: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "how": how, "by": "its tools"}


def test_a_report_carries_them() -> None:
    value = report().to_json()
    assert value["metrics"] == metrics_of_report(value)
    found = of(value)
    assert found["task_metric"]["value"] == value["result"]["metric"]["value"]
    assert (found["task_metric"]["unit"], found["task_metric"]["better"]) == ("accuracy", "higher")
    assert found["task_metric"]["ci95"] == value["result"]["metric"]["ci95"]
    assert found["latency"]["value"] == value["result"]["latency_ms"]["p50"]
    assert found["model_size"]["value"] == value["result"]["bytes"]
    assert found["energy"]["reason"] == value["result"]["not_measured"]["energy"]
    assert found["communication_cost"]["value"] is None


def test_the_boards_own_figures_stand_in_where_nothing_was_timed_here() -> None:
    figures = [
        figure("latency, fp16", 3.0, "ms", "measured"),
        figure("latency, int8", 2.0, "ms", "measured"),
        figure("throughput, int8", 800.0, "/s", "measured"),
    ]
    found = of(away(on_board=figures))
    assert found["latency"]["value"] == 2.0
    assert found["latency"]["method"] == "measured by its tools"
    assert found["throughput"]["value"] == 800.0
    assert of(content() | {"on_board": figures})["latency"]["value"] == 0.0871  # measured here: it stays
    assert of(away(on_board=[]))["latency"]["reason"] == "it is not the machine that ran this"


def test_an_fpga_is_as_full_as_its_scarcest_resource() -> None:
    figures = [
        figure("LUT", 30_000, "", "estimated"),
        figure("LUT", 26_600, "", "synthesised"),
        figure("BRAM18", 210, "", "synthesised"),
        figure("DSP", 0, "", "synthesised"),
        figure("frames per second", 1200.0, "/s", "estimated"),
    ]
    board = {**content()["environment"], "lut": 53_200, "bram18": 280, "dsp": 220}
    found = of(away(on_board=figures, environment=board))
    assert found["resource_utilization"]["value"] == 0.75
    assert found["resource_utilization"]["method"] == "210 of 280 BRAM18, synthesised"
    assert found["resource_utilization"]["better"] == "lower"
    assert found["throughput"]["value"] == 1200.0
    assert found["throughput"]["method"] == "estimated by its tools"


def test_a_report_of_before_is_still_read_and_shown(tmp_path: Path) -> None:
    old = content()
    del old["metrics"]
    (tmp_path / "report.json").write_text(json.dumps(old))
    assert "metrics" not in read_report(tmp_path)
    assert "<h2>Metrics</h2>" not in write_html(old, tmp_path / "report.html").read_text()
    assert view(old)["metrics"] == []
    page = write_compare_html([old, content()], tmp_path / "compare.html", names=["a", "b"]).read_text()
    assert "<h2>Metrics</h2>" in page
    assert "written by an older version" in page


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"value": None}, "not a value with method and source, or null with a reason"),
        ({"reason": "both"}, "not a value with method and source, or null with a reason"),
        ({"method": None}, "not a value with method and source, or null with a reason"),
        ({"value": "0.9"}, "report.metrics[0].value is '0.9', not a finite number"),
        ({"ci95": [2, 1]}, "report.metrics[0].ci95 is [2, 1], not [low, high] in this order"),
        ({"unit": None}, "report.metrics[0].unit is None, not a string"),
    ],
)
def test_a_broken_row_is_named(change: dict[str, Any], says: str) -> None:
    value = copy.deepcopy(content())
    value["metrics"][0] |= change
    with pytest.raises(BadInput) as error:
        validate_report(value)
    assert says in str(error.value)


def test_the_page_shows_every_metric_with_its_value_or_why_not(tmp_path: Path) -> None:
    value = content()
    page = write_html(value, tmp_path / "report.html").read_text()
    for row in value["metrics"]:
        assert row["name"].replace("_", " ") in page
        assert (row["reason"] or row["method"]).replace("'", "&#39;") in page


def test_values_come_first_and_common_small_print_is_said_once() -> None:
    value = content()
    rows = metric_rows([value["metrics"], value["metrics"]])
    known = [row.known for row in rows]
    assert known == sorted(known, reverse=True)
    assert sum(known) == 5
    assert all(row.note and {note for _, note in row.cells} == {""} for row in rows)
    other = copy.deepcopy(value["metrics"])
    other[0]["method"] = "7 samples"
    (first, *_) = metric_rows([value["metrics"], other])
    assert first.note == ""
    assert first.cells[1][1].endswith("7 samples")
    assert metric_rows([[], []]) == []


def test_a_value_is_shown_in_its_unit() -> None:
    assert shown(0.5, "share") == "50.00 %"
    assert shown(0.25, "mean_squared_error") == "0.250 mean squared error"
    assert shown(2048, "B") == "2.00 KiB"
    assert shown(0.0021, "J") == "2.10 mJ"
    assert shown(1100.0, "samples/s") == "1,100/s"
