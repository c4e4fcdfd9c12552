"""The picture of labels over agents: every count drawn to scale, names escaped, small for many agents."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from edgekit.errors import BadInput
from edgekit.report.labels import MORE_COLORS, MOST_BARS, _colors, _runs, labels_svg

HOSTILE = '<b>$\\frac{1}{&"'


def texts(svg: str) -> list[str]:
    return [
        "".join(item.itertext()).strip()
        for item in ElementTree.fromstring(_rooted(svg)).iter()
        if item.tag == "text"
    ]


def _rooted(svg: str) -> str:
    """Inline SVG leaves its namespaces to the page; an XML parser wants them."""
    return svg.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1)


def boxes(svg: str, color: str) -> list[tuple[float, float, float, float]]:
    """Left, top, width, height of the boxes of a colour, but for those of the legend and the page."""
    found = []
    for path in re.findall(rf'<path d="([^"]*)"[^>]*style="fill: {color}[^"]*"', svg):
        for part in path.split("z"):
            numbers = np.array(re.findall(r"-?\d+\.?\d*", part), float).reshape(-1, 2)
            if len(numbers):
                low, high = numbers.min(0), numbers.max(0)
                found.append((*low.tolist(), *(high - low).tolist()))
    return found


def test_bars_are_as_long_as_their_counts():
    counts = np.array([[10, 0, 30], [5, 15, 20], [40, 0, 0]])
    svg = labels_svg(counts, ["a", "b", "c"])
    first, second, third = (boxes(svg, color.lower()) for color in MORE_COLORS[:3])
    first, second, third = (
        sorted(own, key=lambda box: box[1])[1:] for own in (first, second, third)
    )  # legend on top
    unit = first[0][2] / 10
    assert [box[2] / unit for box in first] == pytest.approx([10, 5, 40], rel=1e-4)
    assert [box[2] / unit for box in second] == pytest.approx([15], rel=1e-4)
    assert [box[2] / unit for box in third] == pytest.approx([30, 20], rel=1e-4)
    assert second[0][0] == pytest.approx(first[1][0] + 5 * unit, abs=1e-3)  # stacked in order of class
    assert first[0][1] < first[1][1] < first[2][1]  # agent 0 on top


def test_names_of_classes_and_agents_are_shown():
    svg = labels_svg(np.ones((3, 2)), ["cat", "dog"], ["hall", "yard", "roof"])
    assert {"cat", "dog", "hall", "yard", "roof", "samples", "agent"} <= set(texts(svg))
    assert svg.startswith('<svg role="img" aria-label="labels of 3 agents"')


def test_names_are_only_text_and_long_ones_are_cut():
    svg = labels_svg(np.ones((2, 2)), [HOSTILE, "x" * 80])
    assert "<b>" not in svg
    assert HOSTILE in texts(svg)
    assert "x" * 19 not in svg


@pytest.mark.parametrize("agents", [1, 5, 25, 60, MOST_BARS, MOST_BARS + 1, 1000])
def test_any_number_of_agents_is_readable_and_small(agents):
    counts = np.random.default_rng(0).dirichlet([0.3] * 10, agents) * 600
    svg = labels_svg(counts.round(), [f"class {number}" for number in range(10)])
    numbered = [text for text in texts(svg)[:-1] if text.isdigit()]
    assert 1 <= len(numbered) <= 25 + 12
    assert len(svg) < 500_000
    assert "NaN" not in svg
    assert "inf" not in svg.lower()
    assert ("part of an agent" in svg) == (agents > MOST_BARS)


def test_it_stands_alone_and_is_drawn_again_the_same():
    counts = np.eye(4) * 7
    assert labels_svg(counts) == labels_svg(counts)
    for count in (4, 150):
        svg = labels_svg(np.ones((count, 4)))
        assert not re.search(r"https?:|<image|data:", svg)
        assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', svg))


def test_a_heat_map_shows_parts_of_an_agents_samples():
    counts = np.tile([[90, 10]], (120, 1))
    svg = labels_svg(counts, ["most", "few"])
    drawn = re.findall(r'd="([^"]*)"[^>]*style="fill: var\(--after\)(; opacity: [0-9.]+)?', svg)
    tall = [shade for path, shade in drawn if path.count("L") == 3 and _height(path) > 300]
    assert len(tall) == 2  # equal neighbours are one box
    assert tall[0] != tall[1]


def _height(path: str) -> float:
    numbers = np.array(re.findall(r"-?\d+\.?\d*", path), float).reshape(-1, 2)
    return float(np.ptp(numbers[:, 1]))


def test_many_classes_are_told_by_their_order():
    svg = labels_svg(np.ones((6, 100)))
    assert "from class 0 (left) to 99 (right)" in svg
    assert "legend" not in svg


@pytest.mark.parametrize("count", [1, 2, 10, 12, 13, 100])
def test_colours_differ(count):
    assert len(set(_colors(count))) == count


def test_an_agent_without_samples_is_an_empty_row():
    assert "NaN" not in labels_svg(np.array([[0, 0], [1, 2]]))
    assert "NaN" not in labels_svg(np.zeros((150, 2)))


def test_runs_are_whole_columns():
    filled = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], bool)
    assert sorted(_runs(filled)) == [(-0.46, -0.5, 0.92, 2), (-0.46, 2.5, 0.92, 1), (0.54, 0.5, 0.92, 3)]


@pytest.mark.parametrize(
    ("counts", "names", "agents", "message"),
    [
        (np.ones(3), (), None, r"counts are \[3\]"),
        (np.ones((0, 3)), (), None, r"counts are \[0, 3\]"),
        (np.ones((2, 3)), ("a",), None, "1 class names for 3"),
        (np.ones((2, 3)), (), [1, 2, 3], "3 agents for 2"),
    ],
)
def test_names_that_do_not_fit_are_refused(counts, names, agents, message):
    with pytest.raises(BadInput, match=message):
        labels_svg(counts, names, agents)
