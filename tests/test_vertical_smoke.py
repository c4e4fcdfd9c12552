"""The cheapest form of the benchmark of vertical split learning, where its data are."""

from __future__ import annotations

from tests.paths import shared
from tests.test_benchmarks_smoke import check, run


def test_vertical():
    shared("fsdd")
    rows, _ = run("vertical", "--smoke")
    check(rows, "vertical", 1)
    (row,) = rows
    assert row["case"] == "2 agents"
    assert row["largest_gap_to_one_process"] == 0.0
    assert row["vertical"] == row["whole"]
    for side in ("vertical", "joined", "best_alone"):
        assert 0 <= row[side]["value"] <= 100
    assert row["parameters"] < row["parameters_joined"]
