"""The page stands alone, escapes what it is given, and shows everything the report has."""

from __future__ import annotations

import io
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_sample import content, latency, report
from rich.console import Console

from edgekit.report import print_table, write_compare_html, write_html
from edgekit.report.html import MOST_LAYERS, layer_rows, trade_off_points
from edgekit.report.plots import Point, trade_off_svg

HOSTILE = "<script>alert('x')</script>\"&$\\frac{1}{$[bold]"


class Page(HTMLParser):
    """Tags, attributes and text of a page; void and foreign elements do not disturb it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def page(value: dict[str, Any], folder: Path) -> tuple[str, Page]:
    text = write_html(value, folder / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_it_stands_alone(tmp_path: Path) -> None:
    text, parsed = page(content(), tmp_path)
    compare = write_compare_html([content(), content()], tmp_path / "compare.html").read_text(
        encoding="utf-8"
    )
    for whole in (text, compare):
        assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", whole)
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    outside = [
        (name, value)
        for name, value in parsed.attributes
        if name in ("src", "href", "xlink:href") and not value.startswith("#")
    ]
    assert outside == []


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    value = content()
    value["model"] = value["steps"][0]["name"] = value["measuring"]["command"] = HOSTILE
    value["operators"][0]["layer"] = value["kept_in_float"][0]["reason"] = HOSTILE
    value["result"]["metric"]["name"] = value["baseline"]["metric"]["name"] = HOSTILE
    value["audit"]["findings"][0]["what"] = value["environment"]["machine"] = HOSTILE
    value["result"]["not_measured"]["energy"] = value["verdict"] = HOSTILE
    text, parsed = page(value, tmp_path)
    compare = write_compare_html([value, value], tmp_path / "c.html", names=[HOSTILE, "b"]).read_text()
    assert "script" not in parsed.tags
    assert "<script" not in text + compare
    assert HOSTILE in parsed.text


def test_everything_is_shown(tmp_path: Path) -> None:
    value = content()
    text, parsed = page(value, tmp_path)
    shown = " ".join(parsed.text.split())
    for expected in (
        value["verdict"],
        "92.14 %",
        "0.0871 ms",
        "5.5x smaller",
        "95 % 4.21 to 4.33",
        "12 compute operators run in integers, 1 in float",
        "its output is not quantized",
        "int8 is slower here",
        "38 % of the channels removed",
        "no power sensor",
        "edgekit compress recipe.yaml",
        "AMD EPYC",
        "onnxruntime",
        "2 min 02 s",
    ):
        assert expected in shown
    assert text.count("<svg ") == 2
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"#0[1-6]0[2-7]0[3-8]\b", text), "a stand-in colour was not replaced"


@pytest.mark.parametrize("absent", ["audit", "steps", "operators", "latency", "metric"])
def test_what_is_absent_leaves_a_whole_page(absent: str, tmp_path: Path) -> None:
    value = content()
    if absent == "audit":
        value["audit"], value["not_measured"]["audit"] = None, "this file cannot be audited"
    elif absent in ("steps", "operators"):
        value[absent] = []
    else:
        field = {"latency": "latency_ms"}.get(absent, absent)
        for part in (value["baseline"], value["result"], *(step["metrics"] for step in value["steps"])):
            part[field], part["not_measured"][field] = None, "there is no such thing here"
    _, parsed = page(value, tmp_path)
    assert {
        "audit": "this file cannot be audited",
        "latency": "there is no such thing here",
        "metric": "there is no such thing here",
    }.get(absent, "Before and after") in parsed.text


def test_the_plot_falls_back_to_macs_and_merges_a_repeated_last_point() -> None:
    points, axis = trade_off_points(content())
    assert axis == "latency_ms"
    assert [point.label for point in points] == ["fp32 baseline", "1. prune", "2. distil", "3. quantize"]
    assert [point.last for point in points] == [False, False, False, True]
    assert points[-1].cost == pytest.approx(0.0871)
    assert points[-1].metric_interval == pytest.approx([91.27, 92.47])
    value = content()
    for part in (value["baseline"], *(step["metrics"] for step in value["steps"])):
        part["latency_ms"] = None
    points, axis = trade_off_points(value)
    assert axis == "macs"
    assert points[0].cost == pytest.approx(12.501632)


def test_labels_of_a_plot_do_not_overlap() -> None:
    points = [Point(f"{n}. a step of a name", 1 + 0.002 * n, 90 + 0.01 * n, last=n == 4) for n in range(5)]
    points.append(Point("far", 4, 95))
    svg = trade_off_svg(points, x_label="latency (ms)", y_label="accuracy (%)")
    places = re.findall(
        r'<text[^>]*?transform="translate\(([\d.]+) ([\d.]+)\)[^>]*>\d\. a step', svg
    ) or re.findall(r'<text[^>]*? x="([\d.]+)" y="([\d.]+)"[^>]*>\d\. a step', svg)
    assert len(places) == 5
    corners = sorted((float(y), float(x)) for x, y in places)
    for upper, lower in itertools.pairwise(corners):
        assert lower[0] - upper[0] > 8 or abs(lower[1] - upper[1]) > 60


def test_many_layers_end_in_their_sum() -> None:
    rows = [{"layer": str(n), "baseline_us": 2.0, "result_us": None} for n in range(MOST_LAYERS + 6)]
    shown = layer_rows(rows)
    assert len(shown) == MOST_LAYERS
    assert shown[-1] == ("7 other layers", 14.0, 0.0)
    assert sum(row[1] or 0 for row in shown) == 2.0 * len(rows)


def test_two_boards_side_by_side(tmp_path: Path) -> None:
    other = content() | {"board": "x86-avx2"}
    other["result"]["latency_ms"] = latency(0.19)
    text = write_compare_html([content(), other], tmp_path / "compare.html").read_text(encoding="utf-8")
    for expected in ("this-machine", "x86-avx2", "0.0871 ms", "0.190 ms"):
        assert expected in text
    assert text.count("<svg ") == 1


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_html(content(), tmp_path / "a.html").read_bytes()
    assert write_html(content(), tmp_path / "b.html").read_bytes() == first


def test_the_terminal_table_reads_nothing_as_markup() -> None:
    value = content() | {"model": "[red]net[/red]"}
    console = Console(file=io.StringIO(), width=110)
    print_table(value, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for expected in (
        "[red]net[/red]",
        "92.14 %",
        "91.87 %",
        "4.3x faster",
        "95 % 4.21 to 4.33",
        "1 in float",
    ):
        assert expected in shown


def test_a_notebook_shows_the_verdict_and_the_table() -> None:
    shown = report(model="<b>net")._repr_html_()
    assert "&lt;b&gt;net" in shown
    assert "4.3x faster" in shown
    assert "<table" in shown
