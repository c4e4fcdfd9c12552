"""The pictures and the table of a profile by layer: what they say, and what they leave out."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from rich.console import Console

from edgekit.profile.ceilings import Ceilings
from edgekit.profile.executed import ExecutedNode, Execution
from edgekit.profile.layers import layer_report, report_of
from edgekit.report.layers import MEANINGS, memory_plot, print_layers, roofline_plot

CEILINGS = Ceilings({"float32": 5e10, "int8": 2e11}, 1e10, 8e10, 2**25, 0.3, 2.0, 1)


def content(layers: int = 3):
    """A stem of 2 M MACs and convolutions of 1 M in a chain, an addition at the end."""
    nodes = [
        ExecutedNode(
            f"n{i}",
            "Conv",
            f"block<{i}>",
            40.0,
            (f"t{i}",),
            (f"t{i + 1}",),
            10**6 * (2 if i == 0 else 1),
            4000,
        )
        for i in range(layers)
    ]
    nodes.append(ExecutedNode("sum", "Add", "sum", 2.0, (f"t{layers}", "t1"), ("y",)))
    sizes = {f"t{i}": 1024 * (i + 1) for i in range(layers + 1)} | {"y": 512}
    made = Execution(tuple(nodes), sizes, ("t0",), ("y",), latency_us=40.0 * layers + 4, arena_bytes=5000)
    return report_of(made, CEILINGS).to_json()


def printed(seen) -> str:
    out = io.StringIO()
    print_layers(seen, Console(file=out, width=160))
    return out.getvalue()


def test_the_roofline_is_well_formed_and_names_the_slowest_layers():
    picture = roofline_plot(content())
    words = "".join(ElementTree.fromstring(picture.replace("xlink:", "")).itertext())
    assert "block<0>" in words
    assert "float32 50.0 G/s" in words
    assert "int8" not in words  # no layer computes in it
    assert "cache 80.0 GB/s" in words
    assert "not drawn: 1 without multiply-adds" in words
    assert "var(--after)" in picture
    assert "mathdefault" not in picture


def test_the_memory_plot_marks_the_peak_and_the_allocator():
    seen = content()
    words = "".join(ElementTree.fromstring(memory_plot(seen).replace("xlink:", "")).itertext())
    peak = max(seen["memory"], key=lambda moment: moment["live_bytes"])
    assert f"peak {peak['live_bytes'] / 1024:.2f} KiB at {peak['layer']}" in words
    assert "4.88 KiB, inputs apart" in words


@pytest.mark.parametrize("layers", [1, 60])
def test_few_and_many_layers_are_drawn_and_listed(layers):
    seen = content(layers)
    assert roofline_plot(seen)
    assert memory_plot(seen)
    text = printed(seen)
    assert ("36 others" in text) == (layers == 60)


def test_the_table_says_what_bounds_each_layer_and_against_what():
    seen = content()
    text = printed(seen)
    for bound in {row["bound"] for row in seen["layers"]}:
        assert MEANINGS[bound] in text
    assert "50.0 G float32 MACs/s" in text
    assert "added 0 us a node" in text


def test_what_was_not_measured_is_said_once_and_drawn_nowhere():
    seen = layer_report("model.onnx", {}, target="jetson").to_json()
    assert roofline_plot(seen) == memory_plot(seen) == ""
    text = printed(seen)
    assert text.count("not measured") == 1
    assert "jetson" in text
