"""The cheapest form of the benchmark of codecs in split learning: sane JSON, and the bytes that are promised."""

from __future__ import annotations

import pytest

from tests.test_benchmarks_smoke import check, run

VALUES = 3 * 16 * (32 * 14 * 14 + 32 * 7 * 7)  # of a run: 3 steps of 16, what both cuts let through


def test_split_codecs():
    rows, done = run("split_codecs", "--smoke", "--gradients", "fp16")
    check(rows, "split_codecs", 3)
    raw, coded, both = rows
    assert [row["case"] for row in rows] == [
        "values raw, gradients raw",
        "values uint8, gradients raw",
        "values uint8, gradients fp16",
    ]
    assert raw["value_bytes"] == raw["gradient_bytes"] == 4 * VALUES
    assert raw["value_ratio"] == raw["gradient_ratio"] == raw["test_ratio"] == 1
    assert coded["value_bytes"] == both["value_bytes"] == VALUES + 3 * 2 * 8  # steps, cuts, low and step
    assert coded["value_ratio"] >= 3.9
    assert coded["test_ratio"] >= 3.9  # tested through the codec
    assert coded["gradient_ratio"] == 1
    assert both["gradient_ratio"] == 2
    for row in rows:
        assert row["test_samples"] == 100
        assert (row["seeds"], row["steps"], row["batch"]) == (2, 3, 16)
        assert len(row["accuracies"]) == len(row["drops"]) == 2
        assert row["accuracy"] == pytest.approx(sum(row["accuracies"]) / 2, abs=0.01)
        assert row["drop_points"]["value"] == pytest.approx(sum(row["drops"]) / 2, abs=0.01)
        for name in ("drop_points", "drop_over_seeds"):
            low, high = row[name]["ci95"]
            assert low <= row[name]["value"] <= high
            assert row[name]["value"] == pytest.approx(row["drop_points"]["value"], abs=0.002)
    assert raw["drops"] == [0, 0]
    assert done.stderr.count("bytes of values") == 6


def test_split_codecs_says_which_data_are_absent(tmp_path):
    rows, done = run("split_codecs", "--root", str(tmp_path), code=2)
    assert rows == []
    assert done.stderr.count("\n") == 1
    assert str(tmp_path) in done.stderr
