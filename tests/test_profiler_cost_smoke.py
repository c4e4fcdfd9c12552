"""The cheapest form of the benchmark of the profiler's own cost; its figures are judged by hand."""

from __future__ import annotations

from tests.test_benchmarks_smoke import check, check_interval, run


def test_profiler_cost():
    rows, done = run("profiler_cost", "--smoke")
    check(rows, "profiler_cost", 1)
    for way in ("measure", "interleave", "sampling", "runtime_profiler"):
        check_interval(rows[0][way])
    assert rows[0]["sampling"]["value"] >= 1  # a thread that reads cannot give time back
    assert "runtime_profiler" in done.stdout.splitlines()[2]
