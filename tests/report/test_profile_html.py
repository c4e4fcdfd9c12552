"""profile.html is one page that reads every state of a profile, and no figure or name in it is markup."""

from __future__ import annotations

import copy
import doctest
import json
from pathlib import Path
from typing import Any

import pytest

from edgekit.report import profile_rows
from edgekit.report.profile_html import headline, view, write_profile_html
from edgekit.report.profile_report import finished
from edgekit.report.profile_rows import reasons, state_rows

STATE = {
    "power_mode": "15W",
    "power_mode_id": 0,
    "clocks_locked": False,
    "governors": {"cpu0": "schedutil", "cpu1": "schedutil"},
    "megahertz": {"cpu0": 1200.0, "cpu1": 1500.0},
    "temperatures": {},
    "unknown": {"temperatures": "no zone under /sys/class/thermal"},
}


def window(label: str, joules: float | None) -> dict[str, Any]:
    each = None if joules is None else joules / 100
    flags = [] if joules else [{"name": "outside", "what": "the readings end before"}]
    return {"start": 1.0, "end": 3.0, "label": label, "inferences": 100, "joules": joules, "watts": 1.0, "samples": 40,
            "joules_per_inference": each, "rate": 20.0, "largest_gap": 0.1, "flags": flags}  # fmt: skip


def energy(joules: float) -> dict[str, Any]:
    return {
        "joules_per_inference": joules,
        "ci95": [0.9 * joules, 1.1 * joules],
        "method": "trapezoid, interpolated edges",
        "scope": "module",
        "sensor": "ina3221 VDD_IN",
        "net": None,
        "idle_watts": None,
        "sound": {"windows": 4, "joules_per_inference": joules},
        "flags": [{"name": "lost", "what": "1 of 5 windows have no energy and are left out"}],
        "windows": [window("a", 100 * joules), window("a", None)],
        "idle": [],
    }


def seen(name: str, **more: Any) -> dict[str, Any]:
    times = {"min": 1.0, "mean": 1.2, "p50": 1.1, "p90": 1.5, "p99": 2.0, "n": 500, "threads": 1, "batch": 1}
    whole = {
        "name": name, "path": name, "target": "cpu", "latency_ms": times, "throughput": 800.0, "load_seconds": 0.1,
        "peak_memory_bytes": 2**20, "energy": None, "layers": None, "metric": None, "bytes": 4096, "findings": [],
        "speed_up_over_first": None, "energy_gain_over_first": None, **more,
    }  # fmt: skip
    absent = [key for key in ("energy", "layers", "metric", "latency_ms", "throughput") if whole[key] is None]
    return {**whole, "not_measured": dict.fromkeys(absent, "it was not asked for")}


def content(*files: dict[str, Any]) -> dict[str, Any]:
    return finished(
        {
            "schema": 1,
            "kind": "profile",
            "settings": {"threads": 1, "batch": 1, "seconds": 1.0},
            "machine": {"title": "x86-64", "versions": {"numpy": "2"}},
            "state": {
                "power_mode_set": "15W",
                "before": STATE,
                "after": {**STATE, "megahertz": {"cpu0": 900.0}},
            },
            "energy_run": {
                "by": "sensor",
                "sensor": "ina3221 VDD_IN",
                "sampler_core_share": 0.004,
                "quick": True,
            },
            "files": list(copy.deepcopy(files)),
            "published": None,
            "stopped": None,
        }
    )


def test_documented_examples_hold():
    assert doctest.testmod(profile_rows).failed == 0


def test_the_headline_says_each_against_the_first():
    gain = {"value": 2.0, "ci95": [1.9, 2.1], "differs": True}
    made = content(
        seen("a", energy=energy(0.002)),
        seen("b", energy=energy(0.001), energy_gain_over_first=gain, speed_up_over_first=gain),
        seen("c"),
    )
    said = headline(made)
    assert said.startswith(
        "a: 1.10 ms a call (median), 2.00 mJ per inference of the module. b: 2.00x faster (95 % 1.90"
    )
    assert "2.00x less energy (95 % 1.90 to 2.10)" in said
    assert said.endswith("c: 1.10 ms a call (median), energy not measured.")


def test_the_page_shows_every_part_and_no_name_is_markup(tmp_path):
    hostile = "<img src=x onerror=alert(1)>.onnx"
    made = content(seen(hostile, energy=energy(0.002)), seen("b", energy=energy(0.001)))
    page = write_profile_html(made, tmp_path / "p.html").read_text()
    assert "<img" not in page
    assert "&lt;img src=x" in page
    for words in ("left out", "2 mJ per inference", "power mode set for this", "0.40 % of a core", "outside"):
        assert words in page
    assert page.count("<svg") == 2
    assert json.loads(json.dumps(made)) == made


def test_a_file_without_latency_still_has_a_page(tmp_path):
    made = content(seen("a", latency_ms=None, throughput=None, energy=energy(1e-6)))
    names = [name for name, _ in view(made)["rows"]]
    assert "latency (median)" not in names
    assert "energy, gross" in names
    assert "latency not measured" in write_profile_html(made, Path(tmp_path / "p.html")).read_text()


def test_joules_of_a_layer_are_its_share_of_the_measured_ones():
    rows = [{"layer": "a", "energy_share": 0.75}, {"layer": "b", "energy_share": 0.25}]
    made = content(seen("a", energy=energy(0.004), layers={"layers": rows, "not_measured": {}}))
    shares = [row["joules_by_time"] for row in made["files"][0]["layers"]["layers"]]
    assert shares == pytest.approx([0.003, 0.001])
    assert (
        content(seen("a", layers={"layers": rows, "not_measured": {}}))["files"][0]["layers"]["layers"][0][
            "joules_by_time"
        ]
        is None
    )


def test_state_rows_say_what_changed_and_what_is_unknown():
    made = {what: (before, after) for what, before, after in state_rows(content(seen("a"))["state"])}
    assert made["power mode set for this"] == ("15W", "")
    assert made["governors"] == ("schedutil (2 of them)", "")
    assert made["megahertz"] == ("cpu0 1,200, cpu1 1,500", "900.0")
    assert made["temperatures"][0].startswith("unknown: no zone")


def test_equal_reasons_are_told_once():
    files = [seen("a"), seen("b", energy=energy(1.0))]
    assert ("energy", "a", "it was not asked for") in reasons(files)
    assert ("layers", "all", "it was not asked for") in reasons(files)
