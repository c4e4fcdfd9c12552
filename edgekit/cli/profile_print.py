"""What `edgekit profile` prints: a table of figures, energy and its flags, layers, fronts, published results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.cli.console import _console, kib, say, table
from edgekit.report import profile_rows as rows
from edgekit.report.profile_report import NO_LAYERS, NO_METRIC

TIMES = ("min", "mean", "p50", "p90", "p99", "n")
AXES = {"latency_ms": "latency", "energy": "energy", "bytes": "file size", "metric": "metric"}


def print_profile(content: Mapping[str, Any]) -> None:
    """The content of profile.json on the terminal, and at the end what was not measured and why."""
    files = content["files"]
    if any(seen["latency_ms"] for seen in files):
        _times(content)
    if any(seen["energy"] for seen in files):
        _energy(content)
    for seen in files:
        _layers(seen)
        _findings(seen)
    _fronts(content["fronts"])
    if content["published"]:
        _published(content["published"], files)
    for what, which, why in rows.reasons(files):
        if why in (NO_LAYERS, NO_METRIC):
            continue  # nothing that one would miss on the terminal
        say(f"{what}: not measured{'' if which == 'all' else f' of {which}'}, {why}")
    if content["stopped"]:
        say(content["stopped"])


def _times(content: Mapping[str, Any]) -> None:
    files, settings = content["files"], content["settings"]
    several = len(files) > 1
    columns = ["file", "min ms", "mean", "p50", "p90", "p99", "calls", "per second", "load s", "peak memory"]
    columns += ["speed-up over the first [95 %]"] if several else []
    made = [
        (
            seen["name"],
            *((seen["latency_ms"] or {}).get(name) for name in TIMES),
            seen["throughput"],
            seen["load_seconds"],
            kib(seen["peak_memory_bytes"]),
            *([_ratio(seen["speed_up_over_first"]) if index else "-"] if several else []),
        )
        for index, seen in enumerate(files)
    ]
    table(
        columns,
        made,
        title=f"{settings['threads']} thread(s), batch {settings['batch']}",
        numbers=columns[1:],
    )


def _energy(content: Mapping[str, Any]) -> None:
    files, run = content["files"], content["energy_run"]
    columns = ["file", "gross", "95 %", "net", "95 % of net", "at rest", "less than the first [95 %]"]
    made = [
        (
            seen["name"],
            rows.joules(energy["joules_per_inference"], 4),
            rows.interval(energy).removeprefix("95 % "),
            rows.joules(energy["net"]["joules_per_inference"], 4) if energy["net"] else None,
            rows.interval(energy["net"]).removeprefix("95 % "),
            f"{rows.significant(energy['idle_watts'])} W",
            _gain(seen["energy_gain_over_first"]),
        )
        for seen in files
        if (energy := seen["energy"])
    ]
    first = next(seen["energy"] for seen in files if seen["energy"])
    quick = ", quick" if run.get("quick") else ""
    title = f"joules per inference of the {first['scope']}, by {first['sensor']}, {first['method']}{quick}"
    table(columns, made, title=title, numbers=columns[1:])
    for seen in files:
        for flag in (seen["energy"] or {}).get("flags", ()):
            say(f"flag: {seen['name']}: {flag['name']}: {flag['what']}")
        _sound(seen)


def _sound(seen: Mapping[str, Any]) -> None:
    energy = seen["energy"]
    if energy and energy["sound"]:
        part = energy["sound"]
        say(
            f"{seen['name']}: {rows.joules(part['joules_per_inference'], 4)} from the {part['windows']} of "
            f"{len(energy['windows'])} windows whose readings are whole"
        )


def _layers(seen: Mapping[str, Any]) -> None:
    if not seen["layers"]:
        return
    from edgekit.report.layers import print_layers

    say(seen["name"])
    print_layers(seen["layers"], _console())


def _findings(seen: Mapping[str, Any]) -> None:
    made = [
        tuple(item[name] for name in ("severity", "node", "layer", "what", "remedy"))
        for item in seen["findings"]
    ]
    if made:
        table(["severity", "node", "layer", "what", "remedy"], made, title=seen["name"])


def _fronts(fronts: Sequence[Mapping[str, Any]]) -> None:
    for front in fronts:
        beaten = [name for name in front["files"] if name not in front["front"]]
        rest = f"; beaten: {', '.join(beaten)}" if beaten else ""
        say(f"front of {AXES[front['x']]} and {AXES[front['y']]}: {', '.join(front['front'])}{rest}")


def _published(part: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> None:
    own = [
        (seen["name"], "this machine, measured here", "-", "-", _ms(seen), _microjoules(seen), "-")
        for seen in files
    ]
    listed = [
        (
            row["submitter"],
            row["board"],
            row["task"],
            row["clock_mhz"],
            row["latency_ms"],
            row["energy_uj"],
            row["top1_percent"],
        )
        for row in part["rows"]
    ]
    columns = ["system", "board", "task", "clock MHz", "latency ms", "energy uJ", "top-1 %"]
    table(
        columns,
        [*own, *listed],
        title=f"{part['suite']}, {part['task']}: {part['note']} ({part['source']})",
        numbers=columns[3:],
    )


def _ms(seen: Mapping[str, Any]) -> float | None:
    return seen["latency_ms"]["p50"] if seen["latency_ms"] else None


def _microjoules(seen: Mapping[str, Any]) -> float | None:
    return 1e6 * seen["energy"]["joules_per_inference"] if seen["energy"] else None


def _ratio(part: Mapping[str, Any] | None) -> str:
    return f"{part['value']:.2f}x {rows.bounds(part)}" if part else "-"


def _gain(part: Mapping[str, Any] | None) -> str:
    if part is None:
        return "-"
    sure = "" if part["differs"] else ", not told apart"
    return f"{part['value']:.3f}x [{part['ci95'][0]:.3f}, {part['ci95'][1]:.3f}]{sure}"
