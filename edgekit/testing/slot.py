"""The kit of metric slots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from edgekit.profile.metrics import PRODUCERS, Better, Reading, Slot
from edgekit.testing.row import Row, need, run_checks


def check_slot(slot: Slot, contents: Mapping[str, Mapping[str, Any]] | None = None) -> list[Row]:
    """A metric slot: a name, a unit, a definition and a source; its readings say how they were taken, or why not.

    contents: what each producer wrote, such as {"simulate": a cell of summary.json}; nothing of each where None.
    """
    return run_checks(
        [
            ("is a Slot", lambda: _is_slot(slot)),
            ("has a name in lower_case", lambda: _name(slot)),
            ("has a unit", lambda: _text(slot, "unit")),
            ("has a definition, in sentences", lambda: _definition(slot)),
            ("says which way is better", lambda: _better(slot)),
            ("has a source", lambda: _text(slot, "source")),
            ("says a method with a value, a reason without", lambda: _readings(slot, contents or {})),
        ]
    )


def _is_slot(slot: Slot) -> str:
    need(isinstance(slot, Slot), f"it is a {type(slot).__name__}; make an edgekit.profile.metrics.Slot")
    return slot.name


def _name(slot: Slot) -> str:
    need(
        slot.name.isidentifier() and slot.name == slot.name.lower(),
        f"'{slot.name}' is not such as peak_power",
    )
    return slot.name


def _text(slot: Slot, name: str) -> str:
    value = getattr(slot, name)
    need(isinstance(value, str) and bool(value.strip()), f"{name} is empty")
    return str(value)


def _definition(slot: Slot) -> str:
    text = _text(slot, "definition")
    need(len(text.split()) > 3 and text.endswith("."), f"'{text}' is no sentence")
    return text


def _better(slot: Slot) -> str:
    need(
        slot.better in get_args(Better),
        f"better is '{slot.better}', not one of {', '.join(get_args(Better))}",
    )
    return slot.better


def _readings(slot: Slot, contents: Mapping[str, Mapping[str, Any]]) -> str:
    """From what each producer wrote, and from nothing of it."""
    known = 0
    for producer in PRODUCERS:
        for content in ({}, contents.get(producer, {})):
            reading = None if slot.read is None else slot.read(producer, content)
            reading = slot.unknown("not measured") if reading is None else reading
            need(isinstance(reading, Reading), f"read gave a {type(reading).__name__} for {producer}")
            need(reading.slot.name == slot.name, f"read gave a reading of {reading.slot.name}")
            json.dumps(reading.to_json(), allow_nan=False)
            known += reading.value is not None
    return "edgekit fills it" if slot.read is None else f"{known} values of {2 * len(PRODUCERS)} readings"
