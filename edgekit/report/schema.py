"""The schema of report.json, checked by hand so that the first thing wrong is named in one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from edgekit.errors import BadInput

Check = Callable[[Any, str], None]


def validate_report(content: Any) -> None:
    """Raise BadInput naming the first field of a report.json that is missing or of a wrong kind.

    A figure that is null needs its reason in `not_measured` beside it; unknown extra fields are allowed.
    """
    _fields(content, "report", _REPORT)
    _each(_metric_row)(content.get("metrics", []), "report.metrics")  # absent in what an older version wrote
    if content["schema"] != 1:
        raise _wrong("report.schema", content["schema"], "1")
    for part in ("audit", "drop"):
        _reasoned(content, "report", part, content.get(part))
    for part in ("latency", "size"):
        _reasoned(content, "report", f"ratio.{part}", content["ratio"][part])


def _wrong(where: str, value: Any, wanted: str) -> BadInput:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return BadInput(
        f"report.json: {where} is {shown}, not {wanted}. It was edited, or another version wrote it: write "
        "it again."
    )


def _fields(value: Any, where: str, checks: Mapping[str, Check]) -> None:
    if not isinstance(value, dict):
        raise _wrong(where, value, "an object")
    for name, check in checks.items():
        if name not in value:
            raise BadInput(f"report.json: {where}.{name} is missing. Write it again with this version.")
        check(value[name], f"{where}.{name}")


def _reasoned(content: Mapping[str, Any], where: str, name: str, value: Any) -> None:
    reason = content["not_measured"].get(name)
    if value is None and not (isinstance(reason, str) and reason.strip()):
        raise BadInput(
            f"report.json: {where}.{name} is null without a reason. Give {where}.not_measured['{name}']."
        )
    if value is not None and reason is not None:
        raise BadInput(f"report.json: {where}.{name} has a value and a reason for its absence. Drop one.")


def _text(value: Any, where: str) -> None:
    if not isinstance(value, str):
        raise _wrong(where, value, "a string")


def _flag(value: Any, where: str) -> None:
    if not isinstance(value, bool):
        raise _wrong(where, value, "true or false")


def _number(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _wrong(where, value, "a finite number")


def _positive(value: Any, where: str) -> None:
    _number(value, where)
    if value <= 0:
        raise _wrong(where, value, "a number above 0 (what was not measured is null, with a reason)")


def _count(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(where, value, "a whole number, 0 or more")


def _interval(value: Any, where: str) -> None:
    if not isinstance(value, list) or len(value) != 2:
        raise _wrong(where, value, "[low, high]")
    for end in value:
        _number(end, where)
    if value[0] > value[1]:
        raise _wrong(where, value, "[low, high] in this order")


def _or_null(check: Check) -> Check:
    return lambda value, where: None if value is None else check(value, where)


def _object(checks: Mapping[str, Check]) -> Check:
    return lambda value, where: _fields(value, where, checks)


def _each(check: Check) -> Check:
    def run(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        for index, item in enumerate(value):
            check(item, f"{where}[{index}]")

    return run


def _mapping(check: Check) -> Check:
    def run(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(where, value, "an object")
        for name, item in value.items():
            check(item, f"{where}.{name}")

    return run


def _measured(value: Any, where: str) -> None:
    _fields(value, where, _MEASURED)
    for name in _MEASURED:
        if name != "not_measured":
            _reasoned(value, where, name, value[name])


def _latency(value: Any, where: str) -> None:
    _fields(value, where, _LATENCY)
    ordered = [value[name] for name in ("min", "p50", "p90", "p99")]
    if ordered != sorted(ordered):
        raise _wrong(where, ordered, "min <= p50 <= p90 <= p99")


_LATENCY: dict[str, Check] = dict.fromkeys(
    ("min", "mean", "p50", "p90", "p99", "n", "threads", "batch"), _positive
)
_METRIC: dict[str, Check] = {
    "name": _text,
    "value": _number,
    "n": _count,
    "ci95": _or_null(_interval),
    "higher_is_better": _flag,
    "of": _text,
}
_ENERGY: dict[str, Check] = {
    "joules_per_inference": _positive,
    "method": _text,
    "scope": _text,
    "ci95": _or_null(_interval),
}
_MEASURED: dict[str, Check] = {
    "metric": _or_null(_object(_METRIC)),
    "params": _or_null(_count),
    "macs": _or_null(_count),
    "bytes": _or_null(_positive),
    "latency_ms": _or_null(_latency),
    "throughput": _or_null(_positive),
    "peak_memory_bytes": _or_null(_positive),
    "energy": _or_null(_object(_ENERGY)),
    "not_measured": _mapping(_text),
}
_COST: Check = _object({"params": _count, "macs": _count, "bytes": _count})
_STEP: Check = _object(
    {
        "name": _text,
        "metrics": _measured,
        "change": _object({"before": _COST, "after": _COST, "notes": _each(_text)}),
    }
)
_FINDING: Check = _object(dict.fromkeys(("severity", "node", "layer", "what", "remedy"), _text))
_AUDIT: Check = _object({"float_compute_nodes": _count, "stray_qdq": _count, "nodes": _mapping(_count)})
_ESTIMATE: Check = _object({"value": _number, "ci95": _or_null(_interval)})
_FIGURE: Check = _object(
    {"name": _text, "value": _or_null(_number), "unit": _text, "how": _text, "by": _text}
)
_KEPT: Check = _object(
    {"layer": _text, "reason": _text, "int8_us": _or_null(_positive), "float_us": _or_null(_positive)}
)
_OPERATOR: Check = _object(
    {"layer": _text, "operator": _text, "baseline_us": _or_null(_number), "result_us": _or_null(_number)}
)


def _result(value: Any, where: str) -> None:
    _measured(value, where)
    _fields(value, where, {"artefact": _text, "precision": _text})


def _metric_row(value: Any, where: str) -> None:
    _fields(value, where, _METRIC_ROW)
    known = value["value"] is not None
    if known != bool(value["method"]) or known != bool(value["source"]) or known == bool(value["reason"]):
        raise _wrong(where, value, "a value with method and source, or null with a reason")


_METRIC_ROW: dict[str, Check] = {
    "name": _text,
    "value": _or_null(_number),
    "unit": _text,
    "better": _text,
    "ci95": _or_null(_interval),
    "method": _or_null(_text),
    "reason": _or_null(_text),
    "source": _or_null(_text),
}
_REPORT: dict[str, Check] = {
    "schema": _count,
    "board": _text,
    "target": _text,
    "model": _text,
    "seed": _count,
    "versions": _mapping(_text),
    "baseline": _measured,
    "result": _result,
    "audit": _or_null(_AUDIT),
    "steps": _each(_STEP),
    "objective": _text,
    "ratio": _object({"latency": _or_null(_ESTIMATE), "size": _or_null(_positive)}),
    "drop": _or_null(_ESTIMATE),
    "budget": _mapping(_number),
    "kept_because": _or_null(_text),
    "kept_in_float": _each(_KEPT),
    "findings": _each(_FINDING),
    "on_board": _each(_FIGURE),
    "operators": _each(_OPERATOR),
    "environment": _mapping(lambda value, where: None),
    "measuring": _mapping(lambda value, where: None),
    "timing": _mapping(_number),
    "not_measured": _mapping(_text),
    "verdict": _text,
    "missed": _each(_text),
}
