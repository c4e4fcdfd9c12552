"""The cheapest form of the benchmarks of split networks that answer requests, where this machine can run them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgekit.broker.mosquitto import find_mosquitto
from edgekit.errors import BadInput
from tests.benchmarks.links.namespaces import PREFIX, Unavailable, refuse
from tests.test_benchmarks_smoke import check, run


@pytest.fixture(scope="module")
def _broker():
    try:
        find_mosquitto()
    except BadInput as reason:
        pytest.skip(f"no broker here: {reason}")


@pytest.fixture(scope="module")
def _links():
    try:
        refuse()
    except Unavailable as reason:
        pytest.skip(f"no shaped links here: {reason}")


@pytest.mark.usefixtures("_broker")
def test_split_stream():
    rows, _ = run("split_stream", "--smoke")
    check(rows, "split_stream", 3)
    throughput, *hops = rows
    assert throughput["clock"] == "virtual clock"
    assert "virtual clock" in throughput["asked"]
    assert len(throughput["cuts"]) == 2
    assert throughput["ratio"] > 1
    for row in hops:
        assert row["clock"] == "wall clock"
        assert row["bytes"] == 102_400
        assert 0 < row["hop_ms"] < row["round_trip_ms"]


@pytest.mark.usefixtures("_broker", "_links")
def test_split_plan():
    rows, _ = run("split_plan", "--smoke")
    *cuts, choice = rows
    assert 3 <= len(cuts) <= 4  # the best by plan may be the first, the middle or the last
    check(rows, "split_plan", len(rows))
    assert choice["case"] == "100 Mbit/s 1 ms: choice / best"
    assert choice["cuts_measured"] == len(cuts)
    assert choice["ratio"] >= 1
    for row in cuts:
        assert row["measured_ms"] > row["round_trip_ms"] > 1
        assert row["predicted_ms"] > 2
        assert row["ratio"] > 0
    there = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    owners = [name.split("-")[1] for name in there.split() if name.startswith(PREFIX)]
    assert [owner for owner in owners if not Path(f"/proc/{owner}").exists()] == []
