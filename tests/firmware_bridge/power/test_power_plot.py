"""The curve of `edgekit power watch`: every dot where its watts and its time put it."""

from __future__ import annotations

import doctest
import math

import pytest

from edgekit.cli import power_plot
from edgekit.cli.power_plot import DOTS, MARGIN, limits, plot

ROWS = 8


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """(x from the left, y from the top) of each dot."""
    return {
        (2 * column + x, 4 * row + y)
        for row, line in enumerate(lines[:ROWS])
        for column, letter in enumerate(line[MARGIN + 2 :])
        for y in range(4)
        for x in range(2)
        if ord(letter) - 0x2800 & DOTS[y][x]
    }


def test_the_examples():
    assert doctest.testmod(power_plot).failed == 0


def test_the_size_and_the_labels():
    lines = plot([(index / 10, 5 + math.sin(index)) for index in range(50)], width=60, seconds=5)
    assert len(lines) == ROWS + 2
    assert {len(line) for line in lines} == {60}
    assert lines[0].lstrip().startswith("6 W ┤")
    assert lines[ROWS // 2].lstrip().startswith("5 W ┤")
    assert lines[ROWS - 1].lstrip().startswith("4 W ┤")
    assert lines[-1].split() == ["-5", "s", "now"]


def test_a_ramp_is_a_line_from_corner_to_corner():
    width = 2 * 48
    points = [(index / (width - 1), index / (width - 1)) for index in range(width)]
    seen = dots(plot(points, width=48 + MARGIN + 2, seconds=1))
    assert {(0, 31), (width - 1, 0)} <= seen
    assert {x for x, _ in seen} == set(range(width))
    assert all(abs(31 - y - 31 * x / (width - 1)) <= 1 for x, y in seen)


def test_a_step_is_drawn_upright_and_a_failed_reading_leaves_a_hole():
    step = dots(plot([(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)], width=40, seconds=1))
    middle = {y for x, y in step if 0 < x < 2 * 28 - 1}
    assert middle == set(range(32))
    hole = dots(plot([(0.0, 1.0), (0.5, math.nan), (1.0, 0.0)], width=40, seconds=1))
    assert hole == {(0, 0), (2 * 28 - 1, 31)}


def test_what_is_older_than_the_axis_is_left_out():
    points = [(0.0, 900.0), (9.0, 1.0), (10.0, 2.0)]
    assert plot(points, width=40, seconds=2)[0].lstrip().startswith("2 W")


@pytest.mark.parametrize("watts", [[], [0.0], [3.3], [1e-6, 2e-6], [-1.0, 1.0], [250.0, 251.0]])
def test_the_axis_holds_every_reading(watts: list[float]):
    low, high = limits(watts)
    assert low < high
    assert all(low - 1e-12 <= value <= high * (1 + 1e-12) for value in watts)
    assert high - low <= 4 * max(
        max(watts, default=1) - min(watts, default=0), abs(max(watts, default=1)), 0.3
    )
