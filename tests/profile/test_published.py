"""Published results are those of the round, and say that they are published."""

from __future__ import annotations

import csv
from importlib import resources

import pytest

from edgekit.errors import BadInput
from edgekit.profile.published import TASKS, published
from tests.paths import shared

SHORT = {
    "anomaly_detection": "ad",
    "image_classification": "ic",
    "keyword_spotting": "kws",
    "visual_wake_words": "vww",
}


def test_every_task_has_its_rows_quickest_first():
    whole = published("mlperf-tiny")
    assert whole["note"] == "published, not measured here"
    assert "Apache" in whole["source"]
    assert len(whole["rows"]) == sum(len(published(f"mlperf-tiny:{task}")["rows"]) for task in TASKS)
    for task in TASKS:
        times = [row["latency_ms"] for row in published(f"mlperf-tiny:{task}")["rows"]]
        assert times == sorted(times)
        assert times[0] > 0


def test_rows_are_those_of_the_round():
    """Each energy of the round is there once, and each latency is 1000 over the published rate."""
    with open(shared("energy") / "mlperf_tiny_v1.0_summary.csv") as file:
        listed = list(csv.DictReader(file))
    rows = published("mlperf-tiny")["rows"]
    energies = sorted(float(row["median_uJ_per_inf"]) for row in listed if row["median_uJ_per_inf"])
    assert sorted(row["energy_uj"] for row in rows if row["energy_uj"]) == pytest.approx(energies, rel=1e-5)
    rates = sorted(
        1000 / float(row["median_inf_per_s"])
        for row in listed
        if row["path"].endswith("/performance") and row["median_inf_per_s"]
    )
    assert sorted(row["latency_ms"] for row in rows) == pytest.approx(rates, rel=1e-5)
    kws = [
        row
        for row in rows
        if (row["submitter"], row["board"], row["task"]) == ("STMicroelectronics", "NUCLEO_L4R5ZI", "kws")
    ]
    assert [(round(row["energy_uj"]), row["top1_percent"]) for row in kws] == [(3372, 90.2)]


def test_the_licence_lies_beside():
    folder = resources.files("edgekit.profile.published")
    assert "Apache License" in folder.joinpath("LICENSE.txt").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("mlperf-tinny", "Did you mean 'mlperf-tiny'?"),
        ("mlperf-tiny:kw", "Did you mean 'kws'?"),
        ("", "unknown"),
    ],
)
def test_unknown_ones_are_named(words: str, said: str):
    with pytest.raises(BadInput, match=said.replace("?", r"\?")):
        published(words)
