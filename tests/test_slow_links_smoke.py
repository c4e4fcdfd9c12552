"""The cheapest form of the benchmark over slow links, where this machine can have some."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgekit.broker.mosquitto import find_mosquitto
from edgekit.errors import BadInput
from tests.benchmarks.links.namespaces import PREFIX, Unavailable, refuse
from tests.test_benchmarks_smoke import check, run


@pytest.fixture(scope="module", autouse=True)
def _can_be_had():
    try:
        find_mosquitto()
        refuse()
    except (BadInput, Unavailable) as reason:
        pytest.skip(f"no slow links here: {reason}")


def test_slow_links():
    rows, _ = run("slow_links", "--smoke")
    check(rows, "slow_links", 7)
    found = {row["case"]: row for row in rows}
    assert list(found) == [
        "ring",
        "server",
        "server / ring",
        "first rounds",
        "jitter 10 ms",
        "stall 0.3 s",
        "reset",
    ]
    for side in ("ring", "server"):
        row = found[side]
        assert row["links"]["rate"].startswith("tc tbf 100")
        assert row["links"]["delay"].startswith("relay, 25 ms")
        assert row["round_trip_ms"] >= 50
        assert row["step_ms"]["value"] > 50
        assert row["predicted_ms"] > 50
    assert found["server / ring"]["ratio"]["value"] > 1
    there = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    owners = [name.split("-")[1] for name in there.split() if name.startswith(PREFIX)]
    assert [owner for owner in owners if not Path(f"/proc/{owner}").exists()] == []
