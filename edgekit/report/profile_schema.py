"""The schema of profile.json, checked by hand so that the first thing wrong is named in one line."""

from __future__ import annotations

from typing import Any

from edgekit.errors import BadInput
from edgekit.report.schema import (
    _ENERGY,
    _ESTIMATE,
    _FINDING,
    _METRIC,
    Check,
    _count,
    _each,
    _fields,
    _flag,
    _interval,
    _latency,
    _mapping,
    _number,
    _object,
    _or_null,
    _positive,
    _reasoned,
    _text,
    _wrong,
)


def validate_profile(content: Any) -> None:
    """Raise BadInput naming the first field of a profile.json that is missing or of a wrong kind.

    A figure that is null needs its reason in `not_measured` beside it; unknown extra fields are allowed.
    """
    try:
        _fields(content, "profile", _PROFILE)
        if content["schema"] != 1 or content["kind"] != "profile":
            raise _wrong("profile.schema", [content["schema"], content["kind"]], "1 and 'profile'")
    except BadInput as error:
        raise BadInput(str(error).replace("report.json", "profile.json", 1)) from error


def _anything(value: Any, where: str) -> None:
    """A value of any kind."""


def _file(value: Any, where: str) -> None:
    _fields(value, where, _FILE)
    for name in _FIGURES:
        _reasoned(value, where, name, value[name])


_FLAG: Check = _object({"name": _text, "what": _text})
_WINDOW: Check = _object(
    {
        "start": _number,
        "end": _number,
        "label": _text,
        "inferences": _or_null(_count),
        "joules": _or_null(_number),
        "watts": _or_null(_number),
        "joules_per_inference": _or_null(_number),
        "samples": _count,
        "rate": _number,
        "largest_gap": _number,
        "flags": _each(_FLAG),
    }
)
_JOULES: Check = _object({"joules_per_inference": _number, "ci95": _or_null(_interval)})
_PROFILED_ENERGY: Check = _object(
    {
        **_ENERGY,
        "sensor": _text,
        "net": _or_null(_JOULES),
        "idle_watts": _or_null(_number),
        "sound": _or_null(_object({"windows": _count, "joules_per_inference": _number})),
        "flags": _each(_FLAG),
        "windows": _each(_WINDOW),
        "idle": _each(_WINDOW),
    }
)
_LAYERS: Check = _object({"layers": _each(_mapping(_anything)), "not_measured": _mapping(_text)})
_FIGURES: dict[str, Check] = {
    "latency_ms": _or_null(_latency),
    "throughput": _or_null(_positive),
    "load_seconds": _or_null(_positive),
    "peak_memory_bytes": _or_null(_count),
    "energy": _or_null(_PROFILED_ENERGY),
    "layers": _or_null(_LAYERS),
    "metric": _or_null(_object(_METRIC)),
    "bytes": _or_null(_positive),
}
_FILE: dict[str, Check] = {
    "name": _text,
    "path": _text,
    "target": _text,
    **_FIGURES,
    "speed_up_over_first": _or_null(_ESTIMATE),
    "energy_gain_over_first": _or_null(
        _object({"value": _number, "ci95": _or_null(_interval), "differs": _flag})
    ),
    "findings": _each(_FINDING),
    "not_measured": _mapping(_text),
}
_PROFILE: dict[str, Check] = {
    "schema": _count,
    "kind": _text,
    "settings": _mapping(_anything),
    "machine": _mapping(_anything),
    "state": _or_null(_mapping(_anything)),
    "energy_run": _or_null(_mapping(_anything)),
    "files": _each(_file),
    "fronts": _each(_object({"x": _text, "y": _text, "files": _each(_text), "front": _each(_text)})),
    "published": _or_null(_mapping(_anything)),
    "stopped": _or_null(_text),
}
