"""`edgekit profile DIR|FILE.onnx ...`: latency, load time, memory, energy; several are interleaved."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from edgekit.board_figures import is_away, read_back
from edgekit.cli.artefacts import artefact
from edgekit.cli.console import say, say_aside, say_json
from edgekit.cli.profile_print import print_profile
from edgekit.cli.profile_words import arguments, refuse_idle_words
from edgekit.errors import BadInput
from edgekit.profile.energy_run import EnergyPlan
from edgekit.profile.item import Item, distinct
from edgekit.profile.profile import NO_ENERGY
from edgekit.profile.sensors import find_sensor, why_none
from edgekit.profile.several import Several

EXAMPLE = "edgekit profile float.onnx runs/recipe-1 --energy --out profiled"
STOPPED: Final = 130
__all__ = ["EXAMPLE", "arguments", "run"]


def run(options: argparse.Namespace) -> int:
    """Measure each file by itself, then all of them in turns; of a folder for a board elsewhere, read it back.

    1 where a meter's file has no energy of a file, 130 where Ctrl-C left something unmeasured.
    """
    refuse_idle_words(options)
    away = [path for path in options.paths if is_away(path)]
    if away:
        return _read_back(away, options)
    content = _metered(options) if options.meter else _measured(options)
    if options.out is not None:
        from edgekit.report.profile_report import save_profile

        save_profile(content, options.out)
    if options.json:
        say_json(content)
    else:
        print_profile(content)
        if options.out is not None:
            say(f"report: {options.out / 'profile.html'}")
    if content["stopped"]:
        return STOPPED
    return int(bool(options.meter) and any(seen["energy"] is None for seen in content["files"]))


def _items(options: argparse.Namespace) -> list[Item]:
    names = distinct(str(path) for path in options.paths)
    files = [artefact(path, verb="profile") for path in options.paths]
    return [
        Item.random(name, file, target, batch=options.batch)
        for name, (file, target) in zip(names, files, strict=True)
    ]


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything that was asked for; the content of profile.json."""
    from edgekit.report.profile_report import profile_content

    _refuse_lost_marks(options.marks)
    published = _published(options)
    plan = EnergyPlan(options.windows, options.quick, options.sensor, options.root, options.within)
    sensor, reasons = _sensor(options, plan)
    several = Several(_items(options), options.threads, options.seconds)
    with _state(options) as state:
        several.measure(layers=options.layers)
        if sensor is not None or options.marks:
            several.measure_energy(plan, sensor, say=say_aside)
    if options.marks and several.energy:
        _write_marks(options.marks, several)
    return profile_content(
        several,
        reasons=reasons,
        machine=_machine(),
        state=state,
        settings=_settings(options),
        published=published,
    )


def _sensor(options: argparse.Namespace, plan: EnergyPlan) -> tuple[Any, dict[str, str]]:
    """The sensor to read, or why there is none; BadInput where one was named and is not here."""
    if not options.energy:
        return None, {"energy": NO_ENERGY}
    if options.marks and options.sensor is None:
        return None, {}
    try:
        return find_sensor(plan.sensor, plan.root), {}
    except BadInput as error:
        if options.sensor is not None:
            raise
        return None, {"energy": why_none(error)}


@contextmanager
def _state(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The machine's power state before and after, in the power mode that was asked for."""
    from firmware_bridge.power.state import in_power_mode, power_state

    mode = options.power_mode
    with ExitStack() as held:
        if mode:
            held.enter_context(in_power_mode(mode, options.root))
        state: dict[str, Any] = {"power_mode_set": mode, "before": power_state(options.root).to_json()}
        yield state
        state["after"] = power_state(options.root).to_json()
        try:
            held.close()
        except BadInput as error:  # what was measured is worth more than the end of the command
            state["not_restored"] = str(error)
            say_aside(f"power mode: not restored. {error}")


def _refuse_lost_marks(path: Path | None) -> None:
    """BadInput before minutes are spent, where the windows could not be written."""
    if path is not None and not path.parent.is_dir():
        raise BadInput(f"--marks: there is no folder '{path.parent}'. Make it, or name another file.")


def _write_marks(path: Path, several: Several) -> None:
    from edgekit.profile.marks import marks_text, unix_windows
    from edgekit.report.report import write_text

    session = several.energy
    write_text(path, marks_text(unix_windows(session.windows if session else ())))
    say_aside(
        f"marks: {path}, seconds since 1970 by this machine's clock; three bursts of 1 s come first, by which "
        "the meter's trace is laid onto them"
    )


def _metered(options: argparse.Namespace) -> dict[str, Any]:
    """Energy by a meter's file and the marks; what was measured while the marks were made is taken from --out."""
    from edgekit.cli.profile_meter import metered

    return metered(options, _items(options), settings=_settings(options), published=_published(options))


def _published(options: argparse.Namespace) -> dict[str, Any] | None:
    from edgekit.profile.published import published

    return None if options.published is None else published(options.published)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"threads": options.threads, "batch": options.batch, "seconds": options.seconds}


def _machine() -> dict[str, Any]:
    from edgekit.journal import environment
    from edgekit.target import find_board

    board = find_board("this-machine")
    versions = {name: value for name, value in environment().items() if value and name != "machine"}
    return {"title": board.title, "versions": versions}


def _read_back(folders: list[Path], options: argparse.Namespace) -> int:
    """What boards that are not this machine estimated and measured, into their reports."""
    if len(folders) < len(options.paths):
        raise BadInput(
            f"profile: '{folders[0]}' is of a board that is not this machine, so it cannot take turns with the others. "
            "Profile it alone, or set them side by side with: edgekit compare"
        )
    words = {
        "--energy": options.energy,
        "--meter": options.meter,
        "--layers": options.layers,
        "--out": options.out,
    }
    for word in (word for word, given in words.items() if given):
        raise BadInput(
            f"profile: '{folders[0]}' is of a board that is not this machine: its own tools measure there, so {word} "
            f"has no place here. Drop {word}."
        )
    reports = [read_back(folder) for folder in folders]
    if options.json:
        say_json(
            [
                {"path": str(path), "on_board": report["on_board"]}
                for path, report in zip(folders, reports, strict=True)
            ]
        )
        return 0
    from rich.console import Console

    from edgekit.report import print_figures

    for folder, report in zip(folders, reports, strict=True):
        print_figures(report, Console())
        say(f"report: {folder / 'report.html'}")
    return 0
