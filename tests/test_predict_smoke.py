"""The cheapest form of the benchmark of predicted latency runs, prints sane JSON, and goes on after a kill."""

from __future__ import annotations

from tests.test_benchmarks_smoke import check, run


def test_predict(tmp_path):
    rows, done = run("predict", "--smoke", "--out", str(tmp_path))
    families = {
        "plain",
        "residual",
        "separable",
        "inverted",
        "perceptron",
        "fire, held out",
        "dense, held out",
    }
    assert {row["case"] for row in rows} - {"fp32", "int8", "all"} == families
    check(rows, "predict", len(rows))
    assert done.stdout.startswith("repeatability: ")
    whole = rows[-1]
    assert (whole["case"], whole["networks"]) == ("all", 7)
    assert 0 < whole["median_error"] <= whole["p90_error"]
    measured = (tmp_path / "networks.jsonl").read_text()
    again, _ = run("predict", "--smoke", "--out", str(tmp_path))
    assert (tmp_path / "networks.jsonl").read_text() == measured
    assert [row["median_error"] for row in again] == [row["median_error"] for row in rows]
