"""`edgekit power list|watch|integrate`: the power sensors here, a live curve, and the energy in a trace."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgekit.cli.actions import add_action
from edgekit.cli.console import say, say_aside, say_json, table
from edgekit.cli.power_watch import watch, watch_words

if TYPE_CHECKING:
    from edgekit.profile.energy import Energy, WindowEnergy
    from edgekit.profile.statistics import Interval
    from firmware_bridge.power.meter import MeterFile

EXAMPLE = "edgekit power list"
EXAMPLES = {
    "list": "edgekit power list --json",
    "watch": "edgekit power watch --seconds 10 --out trace.csv",
    "integrate": "edgekit power integrate trace.csv --windows windows.csv --volts 3.3",
}
ROOT: Final = Path("/")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    actions = parser.add_subparsers(dest="action", metavar="list|watch|integrate", required=True)
    shown = _action(actions, "list", "the sensors here, and of each kind that is absent, why")
    shown.add_argument("--json", action="store_true", help="print JSON")
    watch_words(_action(actions, "watch", "a live curve of watts until Ctrl-C"), positive=_positive)
    _integrate_words(_action(actions, "integrate", "the energy in a bench meter's file"))


def run(options: argparse.Namespace) -> int:
    """Do what was asked; 1 where a window has no energy."""
    return {"list": _list, "watch": watch, "integrate": _integrate}[options.action](options)


def _action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    made = add_action(actions, name, summary, example=EXAMPLES[name])
    made.set_defaults(root=ROOT)
    return made


def _integrate_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trace", type=Path, metavar="TRACE", help="CSV with named columns, or MLPerf Tiny's .bin"
    )
    parser.add_argument(
        "--windows", type=Path, metavar="FILE", help="CSV start,end,label,inferences, or MLPerf Tiny's stamps"
    )
    parser.add_argument("--inferences", type=_count, metavar="N", help="in each window that does not say")
    parser.add_argument(
        "--volts", type=_positive, metavar="V", help="the supply, where only current was measured"
    )
    parser.add_argument(
        "--scope", choices=("module", "board", "wall"), default="board", help="what the meter fed (board)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _list(options: argparse.Namespace) -> int:
    from firmware_bridge.power import catalog
    from firmware_bridge.power.state import power_state

    entries, state = catalog(options.root), power_state(options.root)
    if options.json:
        say_json({"sensors": [entry.to_json() for entry in entries], "state": state.to_json()})
        return 0
    here = [entry.sensor for entry in entries if entry.sensor]
    if here:
        table(
            ["sensor", "covers", "new value every", "what to know"],
            [(seen.name, seen.scope, f"{1e3 * seen.period:g} ms", seen.note) for seen in here],
        )
    else:
        say("no power sensor can be read here: energy is not measured")
    table(["absent", "why"], [(entry.kind, entry.reason) for entry in entries if not entry.sensor])
    table(["state", ""], _state_rows(state.to_json()))
    return 0


def _state_rows(state: dict[str, Any]) -> list[tuple[str, str]]:
    unknown = state.pop("unknown")
    rows = []
    for name, value in state.items():
        if value is None and name not in unknown:
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items()) or None
        rows.append((name.replace("_", " "), f"unknown: {unknown[name]}" if name in unknown else str(value)))
    return rows


def _integrate(options: argparse.Namespace) -> int:
    from edgekit.profile.energy import per_inference, window_energy
    from edgekit.profile.trace import Window
    from firmware_bridge.power.meter import read_meter
    from firmware_bridge.power.windows import read_windows

    file = read_meter(options.trace, volts=options.volts, scope=options.scope)
    times = file.trace.times
    windows = (
        read_windows(options.windows, inferences=options.inferences)
        if options.windows
        else [Window(float(times[0]), float(times[-1]), "whole trace", options.inferences)]
    )
    seen = [window_energy(file.trace, window) for window in windows]
    load = [item for item in seen if not item.window.idle]
    energy = per_inference(load, [item for item in seen if item.window.idle])
    if options.json:
        say_json(_as_json(file, energy))
    else:
        _show(file, energy)
    return int(any(item.joules is None for item in seen))


def _as_json(file: MeterFile, energy: Energy) -> dict[str, Any]:
    counted = bool(energy.windows[0].window.inferences)
    made = energy.to_json()
    if not counted:
        made["joules_per_window"] = made.pop("gross")["joules_per_inference"]
    return {
        "trace": file.trace.sensor,
        "form": file.form,
        "scope": file.trace.scope,
        "method": "counter differences" if file.trace.joules is not None else "trapezoid, interpolated edges",
        "readings": len(file.trace.times),
        "faults": list(file.faults),
        **made,
    }


def _show(file: MeterFile, energy: Energy) -> None:
    trace = file.trace
    say(
        f"{trace.sensor}: {file.form}, {len(trace.times)} readings, {1 / trace.step:.6g} a second, scope {trace.scope}"
    )
    for fault in file.faults:
        say_aside(fault)
    table(
        ["window", "from s", "for s", "J", "W", "inferences", "J/inference", "edges", "flags"],
        [_row(item) for item in (*energy.windows, *energy.idle)],
        numbers=["from s", "for s", "J", "W", "inferences", "J/inference", "edges"],
    )
    what = "per inference" if energy.windows[0].window.inferences else "per window"
    say(f"gross: {_joules(energy.gross)} {what}")
    if energy.net is not None:
        say(f"net: {_joules(energy.net)} {what}, of {energy.idle_watts:.4g} W at rest")
    else:
        say("net: not measured (no window is labelled idle)")
    for flag in dict.fromkeys(energy.flags):
        say(f"flag: {flag.name}: {flag.what}")


def _row(item: WindowEnergy) -> tuple[Any, ...]:
    window, known = item.window, item.joules is not None
    return (
        window.label or "-",
        f"{window.start:.3f}",
        f"{window.seconds:.3f}",
        f"{item.joules:.6g}" if known else None,
        f"{item.watts:.5g}" if known else None,
        window.inferences,
        f"{item.per_inference:.5g}" if known and window.inferences else None,
        f"±{100 * item.edge_error / item.joules:.2g} %" if item.joules else None,
        ", ".join(flag.name for flag in item.flags),
    )


def _joules(value: Interval) -> str:
    """With the interval, and the unit that suits."""
    size, unit = next(
        (pair for pair in ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ")) if abs(value.value) >= pair[0]),
        (1e-9, "nJ"),
    )
    if math.isnan(value.low):
        return f"{value.value / size:.5g} {unit} (one window: no interval)"
    return f"{value.value / size:.5g} {unit} [{value.low / size:.5g}, {value.high / size:.5g}] (95 %)"


def _count(word: str) -> int:
    if not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' must be a whole number from 1 on")
    return int(word)


def _positive(word: str) -> float:
    value = float(word)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"'{word}' must be above 0")
    return value
