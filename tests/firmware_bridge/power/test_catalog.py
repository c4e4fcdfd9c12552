"""Which sensors are here, and of each that is not, why."""

from __future__ import annotations

import json
import math

import pytest

from edgekit.errors import BadInput
from firmware_bridge.power import catalog, find_sensor
from firmware_bridge.power.catalog import KINDS
from tests.firmware_bridge.power.test_ina3221 import ORIN_NANO
from tests.firmware_bridge.power.test_rapl import LAPTOP


def test_an_empty_tree_has_a_reason_for_each_kind(tree):
    entries = catalog(tree({}))
    assert [entry.kind for entry in entries] == [kind for kind, _ in KINDS]
    assert all(entry.sensor is None and entry.reason and "\n" not in entry.reason for entry in entries)
    assert json.loads(json.dumps([entry.to_json() for entry in entries]))[0]["name"] is None


def test_this_machine_is_listed_without_an_error():
    assert {entry.kind for entry in catalog()} == {kind for kind, _ in KINDS}


@pytest.mark.parametrize("files", [ORIN_NANO, LAPTOP])
def test_every_sensor_found_keeps_the_protocol(tree, files):
    for entry in catalog(tree(files)):
        if entry.sensor is None:
            continue
        sensor, reading = entry.sensor, entry.sensor.read()
        assert sensor.name
        assert sensor.note
        assert sensor.period > 0
        assert sensor.scope in ("module", "board", "wall", "cpu", "gpu")
        assert (reading.watts is None) != (reading.joules is None)
        assert math.isfinite(reading.watts if reading.joules is None else reading.joules)
        assert sensor.read().time_ns >= reading.time_ns


def test_a_sensor_is_found_by_name_by_kind_or_by_what_it_covers(tree):
    root = tree({**ORIN_NANO, **LAPTOP})
    assert find_sensor(None, root).name == "ina3221 VDD_IN"
    assert find_sensor("rapl", root).name == "rapl psys"
    assert find_sensor("rapl package-0", root).scope == "cpu"


def test_an_absent_or_unknown_sensor_is_one_line(tree):
    root = tree(ORIN_NANO)
    with pytest.raises(BadInput, match="rapl: no counter under"):
        find_sensor("rapl", root)
    with pytest.raises(BadInput, match="Did you mean 'VDD_IN'"):
        find_sensor("ina3221 VDDIN", root)
    with pytest.raises(BadInput, match="no sensor can be read here"):
        find_sensor(None, root / "sys")
