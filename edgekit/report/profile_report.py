"""profile.json: what was measured of one or more files, how, and in which state of the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput
from edgekit.profile.energy_fields import Energies
from edgekit.profile.item import Item
from edgekit.profile.measured_metrics import metrics_of_profile
from edgekit.profile.pareto import fronts
from edgekit.profile.several import Several
from edgekit.report.profile_schema import validate_profile
from edgekit.report.report import read_report, write_text

SCHEMA = 1
FILE = "profile.json"
FIELDS = (
    "latency_ms",
    "throughput",
    "load_seconds",
    "peak_memory_bytes",
    "energy",
    "layers",
    "metric",
    "bytes",
)
NO_LAYERS = "not asked for: --layers"
NO_METRIC = "the file lies in no output folder of edgekit compress"


def profile_content(
    several: Several,
    *,
    reasons: Mapping[str, str],
    machine: Mapping[str, Any],
    state: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    published: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of profile.json, checked; `reasons` say why a field is absent of every file."""
    energy = several.energy.energies if several.energy else Energies()
    files = [_measured(item, several, energy, reasons) for item in several.items]
    content = {
        "schema": SCHEMA,
        "kind": "profile",
        "settings": dict(settings),
        "machine": dict(machine),
        "state": state,
        "energy_run": several.energy.facts if several.energy and several.energy.facts else None,
        "files": files,
        "published": published,
        "stopped": several.stopped or None,
    }
    return finished(content)


def finished(content: dict[str, Any]) -> dict[str, Any]:
    """With fronts, metrics and joules by layer, as plain JSON, checked."""
    for seen in content["files"]:
        _share_energy(seen)
        seen["metrics"] = metrics_of_profile(seen)
    content["fronts"] = fronts(content["files"])
    plain: dict[str, Any] = json.loads(json.dumps(content, default=_plain))
    validate_profile(plain)
    return plain


def save_profile(content: Mapping[str, Any], folder: Path) -> None:
    """Write profile.json and profile.html into `folder`."""
    from edgekit.report.profile_html import write_profile_html

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_profile_html(content, folder / "profile.html")


def read_profile(folder: Path) -> dict[str, Any] | None:
    """The profile.json of a folder, checked; None where there is none."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read: {error}. Remove it and profile again.") from error
    validate_profile(content)
    return content


def known_metric(path: Path) -> dict[str, Any] | None:
    """The metric that the report beside an artefact has of it; None where no report speaks of it."""
    if not (path.parent / "report.json").is_file():
        return None
    report = read_report(path.parent)
    if path.name == report["result"]["artefact"]:
        return report["result"]["metric"]  # type: ignore[no-any-return]
    return report["baseline"]["metric"] if path.name == "baseline.onnx" else None


def named(item: Item, values: Mapping[str, Any], reasons: Mapping[str, str]) -> dict[str, Any]:
    """A file's entry: its name, path and target, the values, and the reason of each that is absent."""
    whole = {
        "name": item.name,
        "path": str(item.path),
        "target": item.target,
        **{name: values.get(name) for name in FIELDS},
        "speed_up_over_first": values.get("speed_up_over_first"),
        "energy_gain_over_first": values.get("energy_gain_over_first"),
        "findings": list(values.get("findings", ())),
    }
    absent = [name for name in FIELDS if whole[name] is None]
    whole["not_measured"] = {name: reasons.get(name) or "it could not be measured" for name in absent}
    return whole


def facts_of_file(path: Path) -> dict[str, Any]:
    """What needs no measurement: the file's size, and the metric that its report has."""
    return {"bytes": path.stat().st_size, "metric": known_metric(path)}


def _measured(item: Item, several: Several, energy: Energies, reasons: Mapping[str, str]) -> dict[str, Any]:
    seen = several.profiles.get(item.name)
    ratio = several.ratios.get(item.name)
    why = {"metric": NO_METRIC, "layers": several.no_layers.get(item.name) or NO_LAYERS}
    if seen is None:
        why |= dict.fromkeys(
            ("latency_ms", "throughput", "load_seconds", "peak_memory_bytes"), several.stopped
        )
    else:
        why |= seen.not_measured
    why |= {"energy": several.stopped, **reasons} if several.stopped else reasons
    if item.name in energy.reasons:
        why["energy"] = energy.reasons[item.name]
    values = {
        **(seen.to_json() if seen else {}),
        **facts_of_file(item.path),
        "load_seconds": seen.load_seconds if seen else None,
        "findings": [vars(finding) for finding in seen.findings] if seen else [],
        "energy": energy.fields.get(item.name),
        "layers": several.layers.get(item.name),
        "speed_up_over_first": None
        if ratio is None or item is several.items[0]
        else {"value": ratio.value, "ci95": [ratio.low, ratio.high]},
        "energy_gain_over_first": energy.gains.get(item.name),
    }
    return named(item, values, why)


def _share_energy(seen: dict[str, Any]) -> None:
    """Joules of each layer: its share of the time, of the measured joules per inference."""
    rows: Sequence[dict[str, Any]] = (seen["layers"] or {}).get("layers") or ()
    joules = seen["energy"]["joules_per_inference"] if seen["energy"] else None
    for row in rows:
        share = row.get("energy_share")
        row["joules_by_time"] = None if joules is None or share is None else share * joules


def _plain(value: Any) -> Any:
    for method in ("to_json", "item", "tolist"):
        if hasattr(value, method):
            return getattr(value, method)()
    return str(value)
