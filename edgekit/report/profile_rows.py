"""The figures of profile.json as text, for the page and the terminal alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.report import figures

UNITS = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ"), (1e-9, "nJ"))
AXES = {
    "latency_ms": "latency, median (ms)",
    "energy": "energy per inference (mJ)",
    "bytes": "file size (KiB)",
}
SHORT = {"latency_ms": "latency", "energy": "energy", "bytes": "file size", "metric": "metric"}


def joules(value: float | None, digits: int = 3) -> str:
    """Joules in the unit that suits.

    >>> joules(0.00123), joules(2.0), joules(None)
    ('1.23 mJ', '2.00 J', 'not measured')
    """
    if value is None:
        return figures.NOTHING
    size, unit = next((pair for pair in UNITS if abs(value) >= pair[0]), UNITS[-1])
    return f"{figures.significant(value / size, digits)} {unit}"


def interval(part: Mapping[str, Any] | None) -> str:
    """The 95 % interval of joules per inference, in the unit of its value."""
    if part is None or part["ci95"] is None:
        return ""
    size, unit = next((pair for pair in UNITS if abs(part["joules_per_inference"]) >= pair[0]), UNITS[-1])
    low, high = (figures.significant(end / size, 4) for end in part["ci95"])
    return f"95 % {low} to {high} {unit}"


def gain(part: Mapping[str, Any], more: str, same: str, less: str) -> str:
    """A ratio of the first over this, in words, with its 95 % interval.

    >>> gain({"value": 1.5, "ci95": [1.4, 1.6]}, "faster", "as fast", "slower")
    '1.50x faster (95 % 1.40 to 1.60)'
    >>> gain({"value": 0.5, "ci95": [0.4, 0.8]}, "faster", "as fast", "slower")
    '2.00x slower (95 % 1.25 to 2.50)'
    >>> gain({"value": 1.0, "ci95": [0.9, 1.1]}, "faster", "as fast", "slower")
    'as fast within the noise (ratio 95 % 0.90 to 1.10)'
    """
    value, (low, high) = part["value"], part["ci95"]
    if low > 1:
        return f"{value:.2f}x {more} (95 % {low:.2f} to {high:.2f})"
    if high < 1:
        return f"{1 / value:.2f}x {less} (95 % {1 / high:.2f} to {1 / low:.2f})"
    return f"{same} within the noise (ratio 95 % {low:.2f} to {high:.2f})"


def bounds(part: Mapping[str, Any] | None) -> str:
    """The interval of a ratio, as [1.50, 1.54]."""
    return f"[{part['ci95'][0]:.2f}, {part['ci95'][1]:.2f}]" if part else ""


def energy_note(seen: Mapping[str, Any]) -> str:
    """Gross, its interval, how, and of what: the small print below an energy."""
    energy = seen["energy"]
    if energy is None:
        return str(seen["not_measured"]["energy"])
    parts = [
        interval(energy) or "one window: no interval",
        f"{len(energy['windows'])} windows",
        energy["method"],
    ]
    return ", ".join(parts)


def net_note(energy: Mapping[str, Any] | None) -> str:
    """The small print below a net energy."""
    if energy is None:
        return ""
    if energy["net"] is None:
        return "no idle window"
    return ", ".join(
        filter(None, [interval(energy["net"]), f"{significant(energy['idle_watts'])} W at rest"])
    )


def significant(value: float | None) -> str:
    """Three digits, or that it was not measured."""
    return figures.NOTHING if value is None else figures.significant(value)


def state_rows(state: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, before, after) of the power state; what the board does not say has its reason."""
    before, after = state["before"], state.get("after") or state["before"]
    rows = [
        (figures.words(name), _state(before, name), _state(after, name))
        for name in before
        if name != "unknown"
    ]
    shown = [row for row in rows if row[0] != "power mode id"]
    if state["power_mode_set"]:
        shown.insert(0, ("power mode set for this", str(state["power_mode_set"]), ""))
    if "not_restored" in state:
        shown.append(("power mode not restored", "", state["not_restored"]))
    return [(what, one, "" if one == other else other) for what, one, other in shown]


def _state(state: Mapping[str, Any], name: str) -> str:
    value = state[name]
    if name in state["unknown"]:
        return f"unknown: {state['unknown'][name]}"
    if isinstance(value, Mapping):
        return _alike(value)
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _alike(value: Mapping[str, Any]) -> str:
    """One value where all are the same, else each with its name."""
    unlike = set(map(str, value.values()))
    if len(unlike) == 1:
        return f"{unlike.pop()} ({len(value)} of them)" if len(value) > 1 else unlike.pop()
    return ", ".join(f"{key} {_number(item)}" for key, item in value.items())


def _number(value: Any) -> str:
    return figures.significant(value, 4) if isinstance(value, float) else str(value)


def run_facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How energy was measured, as (what, value)."""
    words = {"by": "read from", "note": "what to know", "window_s": "a window", "period_s": "sensor period"}
    units = {"window_s": " s", "period_s": " s", "interval_s": " s", "offset_s": " s"}
    skipped = ("faults", "failure", "sampler_core_share")
    rows = [
        (
            words.get(name, figures.words(name.removesuffix("_s"))),
            f"{_fact(name, value)}{units.get(name, '')}",
        )
        for name, value in run.items()
        if name not in skipped and value not in (None, "", 0)
    ]
    share = run.get("sampler_core_share")
    return [*rows, ("reading the sensor took", f"{100 * share:.2f} % of a core")] if share else rows


def _fact(name: str, value: Any) -> str:
    if name == "offset_s":
        return f"{value:.3f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return figures.significant(value, 4) if isinstance(value, float) else str(value)


def metric_text(seen: Mapping[str, Any]) -> str:
    """The metric with its unit, or that there is none."""
    return figures.score(seen["metric"]) if seen["metric"] else figures.NOTHING


def reasons(files: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(what, of which files, why) for every figure that is null, alike ones as one."""
    merged: dict[tuple[str, str], list[str]] = {}
    for seen in files:
        for name, why in seen["not_measured"].items():
            merged.setdefault(
                (figures.words(name.removesuffix("_ms").removesuffix("_bytes")), why), []
            ).append(seen["name"])
    return [
        (what, "all" if len(names) == len(files) else ", ".join(names), why)
        for (what, why), names in merged.items()
    ]
