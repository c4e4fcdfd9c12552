"""The metric slots: a row for each, a method with a value, a reason without, and slots of one's own."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import replace

import pytest

from edgekit import registry
from edgekit.errors import BadInput
from edgekit.profile import metric_slots
from edgekit.profile.latency import Latency
from edgekit.profile.measured_metrics import metrics_of_profile
from edgekit.profile.metrics import PRODUCERS, Reading, Slot, rows, slot_of, slots
from edgekit.profile.profile import Profile

PEAK = Slot(
    "peak_power",
    "W",
    "The largest mean power of any second of the measurement.",
    "lower",
    "this test",
    read=lambda producer, content: (
        PEAK.reading(
            content.get("watts"), method="largest second", source="watts", reason="no meter was read"
        )
        if producer == "profile"
        else None
    ),
)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch):
    """A registry to which slots can be added for one test."""
    monkeypatch.setattr(registry.slots, "_registered", {})
    return registry.slots.register


def by_name(found):
    return {row["name"]: row for row in found}


def sound(row) -> bool:
    """A value says how and whence; none says why."""
    if row["value"] is None:
        return bool(row["reason"]) and row["method"] is None and row["source"] is None and row["ci95"] is None
    return bool(row["method"] and row["source"]) and row["reason"] is None


def test_eleven_of_the_survey_and_some_of_our_own():
    found = slots()
    assert [slot.name for slot in found] == list(registry.slots.builtin())
    assert sum(slot.source == metric_slots.SURVEY for slot in found) == 11
    assert {"training_energy", "training_time", "model_size"} <= {slot.name for slot in found}
    assert all(slot_of(slot.name) is slot for slot in found)


def test_a_profile_fills_what_it_knows_and_gives_a_reason_for_the_rest():
    seen = Profile(
        latency=Latency(0.9, 1.1, 1.0, 1.2, 1.5, 300, 2, 4),
        throughput=3636.0,
        peak_memory_bytes=2**20,
        energy={"joules_per_inference": 0.002, "method": "gross", "scope": "board", "ci95": [0.0018, 0.0022]},
    )
    found = by_name(metrics_of_profile({**seen.to_json(), "bytes": 58_402}))
    assert list(found) == list(registry.slots.builtin())
    assert all(map(sound, found.values()))
    assert found["latency"]["value"] == 1.0
    assert "batch 4" in found["latency"]["method"]
    assert "2 thread(s)" in found["latency"]["method"]
    assert found["throughput"]["value"] == 3636.0
    assert found["energy"] | {"reason": None} == found["energy"]
    assert (found["energy"]["value"], found["energy"]["ci95"]) == (0.002, [0.0018, 0.0022])
    assert found["energy"]["method"] == "gross, scope board"
    assert found["memory_footprint"]["value"] == 2**20
    assert found["model_size"]["value"] == 58_402
    for name in ("communication_cost", "privacy", "robustness", "convergence_rounds", "training_energy"):
        assert found[name]["value"] is None
        assert "no training ran" in found[name]["reason"]


def test_of_nothing_all_is_null_with_a_reason_and_reasons_are_kept():
    found = by_name(metrics_of_profile({"not_measured": {"energy": "no sensor is here"}}))
    assert all(row["value"] is None and sound(row) for row in found.values())
    assert found["energy"]["reason"] == "no sensor is here"
    json.dumps(list(found.values()), allow_nan=False)


def test_a_value_of_zero_is_a_value():
    reading = metric_slots.COMMUNICATION_COST.reading(0, method="counted", source="x", reason="unused")
    assert reading.to_json()["value"] == 0.0
    assert sound(reading.to_json())


@pytest.mark.parametrize(
    "broken",
    [
        {"value": 1.0},
        {"value": 1.0, "method": "timed"},
        {"value": 1.0, "method": "timed", "source": "x", "reason": "y"},
        {"value": None},
        {"value": None, "reason": ""},
        {"value": None, "method": "timed", "source": "x", "reason": "y"},
    ],
)
def test_a_reading_is_a_value_with_a_method_or_none_with_a_reason(broken):
    with pytest.raises(BadInput, match="latency needs a value with method and source"):
        Reading(metric_slots.LATENCY, **broken)


def test_a_slot_of_ones_own_reads_what_a_command_wrote(own):
    own("peak_power", PEAK)
    assert slots()[-1].name == "peak_power"
    found = by_name(metrics_of_profile({"watts": 7.5}))["peak_power"]
    assert (found["value"], found["unit"], found["method"]) == (7.5, "W", "largest second")
    assert by_name(metrics_of_profile({}))["peak_power"]["reason"] == "no meter was read"
    (left,) = [row for row in rows("train", {}, [], absent="not told") if row["name"] == "peak_power"]
    assert left["reason"] == "not told"


def test_a_slot_of_an_installed_package_is_found(monkeypatch):
    entry = importlib.metadata.EntryPoint("peak_power", f"{__name__}:PEAK", registry.slots.group)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] * (group == registry.slots.group))
    assert "peak_power" in {slot.name for slot in slots()}
    assert by_name(metrics_of_profile({"watts": 1.0}))["peak_power"]["value"] == 1.0


def test_a_slot_that_fails_costs_its_own_row_only(own):
    own("no_slot", 3)
    own("breaks", replace(PEAK, name="breaks", read=lambda producer, content: content["absent"]))
    found = by_name(metrics_of_profile({"throughput": 2.0}))
    assert found["throughput"]["value"] == 2.0
    assert found["breaks"]["reason"] == "its read failed: KeyError: 'absent'"
    assert found["no_slot"]["reason"].startswith("it cannot be loaded: metrics: 'no_slot' is of type int")
    assert all(map(sound, found.values()))


def test_every_producer_gives_a_row_for_every_slot():
    for producer in PRODUCERS:
        found = rows(producer, {}, [], absent="not told")
        assert [row["name"] for row in found] == list(registry.slots.builtin())
        assert {row["reason"] for row in found} == {"not told"}


def test_an_unknown_name_is_one_line_with_the_nearest():
    with pytest.raises(BadInput, match="Did you mean 'latency'"):
        slot_of("latncy")
