"""`edgekit profile FILE --meter TRACE --marks FILE`: energy by a bench meter's file, running nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from edgekit.cli.console import say_aside
from edgekit.errors import BadInput

if TYPE_CHECKING:
    from edgekit.profile.energy_fields import Energies
    from edgekit.profile.item import Item
    from edgekit.profile.trace import Window

NOT_RUN: Final = "--meter reads files and runs nothing; give the --out folder of the run that wrote the marks"


def metered(
    options: argparse.Namespace,
    items: Sequence[Item],
    *,
    settings: dict[str, Any],
    published: dict[str, Any] | None,
) -> dict[str, Any]:
    """The content of profile.json: energy by the meter, the rest from the profile.json in --out where it is of
    the same files, else null with the reason.
    """
    from edgekit.profile.marks import Alignment, align, shifted
    from firmware_bridge.power.meter import read_meter
    from firmware_bridge.power.windows import read_windows

    file = read_meter(options.meter, volts=options.volts, scope=options.scope)
    windows = _labelled(
        read_windows(options.marks, inferences=options.inferences), [item.name for item in items]
    )
    found: Alignment = align(file.trace, windows, options.offset)
    for fault in file.faults:
        say_aside(fault)
    energies = _energies(file.trace, shifted(windows, found.offset), [item.name for item in items])
    facts = {
        "by": "meter",
        "sensor": file.trace.sensor,
        "form": file.form,
        "scope": file.trace.scope,
        "readings": len(file.trace.times),
        "interval_s": file.trace.step,
        "faults": list(file.faults),
        "offset_s": found.offset,
        "correlation": found.correlation,
    }
    return _content(options, items, energies, facts, settings=settings, published=published)


def _labelled(windows: Sequence[Window], names: Sequence[str]) -> list[Window]:
    """Windows whose labels are names of files; of one file all windows that are neither idle nor bursts."""
    from edgekit.profile.energy_run import SYNC

    loads = {item.label for item in windows if not item.idle and item.label != SYNC}
    if len(names) == 1 and names[0] not in loads:
        return [
            item if item.idle or item.label == SYNC else replace(item, label=names[0]) for item in windows
        ]
    absent = [name for name in names if name not in loads]
    if absent:
        raise BadInput(
            f"profile: the marks have no window of '{absent[0]}'; theirs are {', '.join(sorted(loads)) or 'none'}. "
            "Name the files as in the run that wrote the marks."
        )
    return list(windows)


def _energies(trace: Any, windows: Sequence[Window], names: Sequence[str]) -> Energies:
    from edgekit.profile.energy_fields import energies

    uncounted = next((item for item in windows if item.label in names and not item.inferences), None)
    if uncounted is not None:
        raise BadInput(
            f"profile: the window of '{uncounted.label}' from {uncounted.start:.3f} s does not say its inferences. "
            "Fill that column of the marks, or give --inferences N."
        )
    return energies(trace, windows, names)


def _content(
    options: argparse.Namespace,
    items: Sequence[Item],
    energies: Energies,
    facts: dict[str, Any],
    *,
    settings: dict[str, Any],
    published: dict[str, Any] | None,
) -> dict[str, Any]:
    from edgekit.report.profile_report import (
        FIELDS,
        NO_METRIC,
        SCHEMA,
        facts_of_file,
        finished,
        named,
        read_profile,
    )

    before = read_profile(options.out) if options.out else None
    known = {seen["name"]: seen for seen in before["files"]} if before else {}
    used = before if before and set(known) >= {item.name for item in items} else None
    files = []
    for item in items:
        seen = known.get(item.name, {}) if used else {}
        reasons = {
            **dict.fromkeys(FIELDS, NOT_RUN),
            "metric": NO_METRIC,
            **seen.get("not_measured", {}),
            **energies.reasons_of(item.name),
        }
        values = {
            **seen,
            **facts_of_file(item.path),
            "energy": energies.fields.get(item.name),
            "energy_gain_over_first": energies.gains.get(item.name),
        }
        files.append(named(item, values, reasons))
    return finished(
        {
            "schema": SCHEMA,
            "kind": "profile",
            "settings": used["settings"] if used else settings,
            "machine": used["machine"] if used else {"title": "not known: nothing ran", "versions": {}},
            "state": used["state"] if used else None,
            "energy_run": facts,
            "files": files,
            "published": published,
            "stopped": None,
        }
    )
