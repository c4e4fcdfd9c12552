"""profile.html: one self-contained page of a profile, without script and network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.report import figures
from edgekit.report import profile_rows as rows
from edgekit.report.html import _facts, _render
from edgekit.report.metrics import metric_rows
from edgekit.report.profile_plots import energy_svg, front_svg
from edgekit.report.report import write_text
from edgekit.report.rows import latency_note

Cell = tuple[str, str]


def write_profile_html(content: Mapping[str, Any], path: Path | str) -> Path:
    """Write the page of one profile (the content of a profile.json)."""
    write_text(Path(path), _render("profile.html.j2", view(content)))
    return Path(path)


def view(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows, all figures as text."""
    files = content["files"]
    known = [seen for seen in files if seen["energy"]]
    fronts = content["fronts"]
    return {
        "content": content,
        "files": files,
        "headline": headline(content),
        "rows": _table(files),
        "front": fronts[0] if fronts else None,
        "front_plot": front_svg(fronts[0], files) if fronts else "",
        "fronts": [_front(front) for front in fronts],
        "energy_plot": energy_svg(known) if known else "",
        "energies": [(seen["name"], seen["energy"], _windows(seen["energy"])) for seen in known],
        "layers": [_layers(seen) for seen in files if seen["layers"]],
        "findings": [{**item, "file": seen["name"]} for seen in files for item in seen["findings"]],
        "published": _published(content["published"], files),
        "metrics": metric_rows([seen["metrics"] for seen in files]),
        "not_measured": rows.reasons(files),
        "state": rows.state_rows(content["state"]) if content["state"] else [],
        "run": rows.run_facts(content["energy_run"]) if content["energy_run"] else [],
        "faults": (content["energy_run"] or {}).get("faults", []),
        "settings": _facts(content["settings"]),
        "versions": _facts(content["machine"]["versions"]),
    }


def headline(content: Mapping[str, Any]) -> str:
    """The first file in a sentence, and every other against it."""
    first, *others = content["files"]
    parts = [f"{first['name']}: {_pace(first)}, {_energy_phrase(first)}"]
    parts += [f"{seen['name']}: {_against(seen)}" for seen in others]
    return ". ".join(parts) + "."


def _pace(seen: Mapping[str, Any]) -> str:
    if seen["latency_ms"] is None:
        return "latency not measured"
    return f"{figures.milliseconds(seen['latency_ms']['p50'])} a call (median)"


def _energy_phrase(seen: Mapping[str, Any]) -> str:
    energy = seen["energy"]
    if energy is None:
        return "energy not measured"
    return f"{rows.joules(energy['joules_per_inference'])} per inference of the {energy['scope']}"


def _against(seen: Mapping[str, Any]) -> str:
    time, energy = seen["speed_up_over_first"], seen["energy_gain_over_first"]
    pace = rows.gain(time, "faster", "as fast", "slower") if time else _pace(seen)
    joules = (
        rows.gain(energy, "less energy", "as much energy", "more energy") if energy else _energy_phrase(seen)
    )
    return f"{pace}, {joules}"


def _table(files: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Cell]]]:
    """(figure, a cell (value, small print) for each file); a figure that no file has is left to the reasons."""
    made: list[tuple[str, list[Cell]]] = [
        ("latency (median)", [_latency(seen) for seen in files]),
        ("fastest, mean", [_fastest(seen) for seen in files]),
        ("samples a second", [(rows.significant(seen["throughput"]), "") for seen in files]),
        ("speed-up over the first", [_ratio(seen["speed_up_over_first"], "x") for seen in files]),
        ("energy, gross", [_gross(seen) for seen in files]),
        ("energy, net", [_net(seen["energy"]) for seen in files]),
        ("less energy than the first", [_ratio(seen["energy_gain_over_first"], "x") for seen in files]),
        ("load", [(_load(seen), "in a fresh process") for seen in files]),
        ("peak memory", [(figures.size(seen["peak_memory_bytes"]), "that it adds") for seen in files]),
        ("file size", [(figures.size(seen["bytes"]), "") for seen in files]),
        ("metric", [_metric(seen) for seen in files]),
    ]
    return [row for row in made if any(value not in ("", figures.NOTHING) for value, _ in row[1])]


def _latency(seen: Mapping[str, Any]) -> Cell:
    times = seen["latency_ms"]
    return figures.milliseconds(times["p50"] if times else None), latency_note(times)


def _fastest(seen: Mapping[str, Any]) -> Cell:
    times = seen["latency_ms"]
    if times is None:
        return figures.NOTHING, ""
    return figures.milliseconds(
        times["min"]
    ), f"mean {figures.milliseconds(times['mean'])} of {times['n']:,} calls"


def _ratio(part: Mapping[str, Any] | None, unit: str) -> Cell:
    return (f"{part['value']:.2f}{unit}", f"95 % {rows.bounds(part)}") if part else ("", "")


def _gross(seen: Mapping[str, Any]) -> Cell:
    energy = seen["energy"]
    return rows.joules(energy["joules_per_inference"] if energy else None), rows.energy_note(
        seen
    ) if energy else ""


def _net(energy: Mapping[str, Any] | None) -> Cell:
    net = energy["net"] if energy else None
    return rows.joules(net["joules_per_inference"] if net else None), rows.net_note(energy)


def _load(seen: Mapping[str, Any]) -> str:
    return figures.NOTHING if seen["load_seconds"] is None else figures.seconds(seen["load_seconds"])


def _metric(seen: Mapping[str, Any]) -> Cell:
    metric = seen["metric"]
    return rows.metric_text(seen), f"{figures.words(metric['name'])}, from report.json" if metric else ""


def _front(front: Mapping[str, Any]) -> dict[str, str]:
    beaten = [name for name in front["files"] if name not in front["front"]]
    return {
        "axes": f"{rows.SHORT[front['x']]} and {rows.SHORT[front['y']]}",
        "front": ", ".join(front["front"]),
        "beaten": ", ".join(beaten),
    }


def _windows(energy: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The windows of one file and the idle ones, in the columns of the page."""
    return [
        (
            item["label"],
            f"{item['end'] - item['start']:.2f}",
            f"{item['inferences']:,}" if item["inferences"] else "",
            rows.significant(item["joules"]),
            rows.significant(item["watts"]),
            str(item["samples"]),
            rows.joules(item["joules_per_inference"], 4) if item["joules_per_inference"] is not None else "",
            ", ".join(flag["name"] for flag in item["flags"]),
        )
        for item in (*energy["windows"], *energy["idle"])
    ]


def _layers(seen: Mapping[str, Any]) -> dict[str, Any]:
    from edgekit.report.layers import memory_plot, roofline_plot

    content = seen["layers"]
    return {
        "name": seen["name"],
        "roofline": roofline_plot(content),
        "memory": memory_plot(content) if content.get("memory") else "",
        "rows": [_layer(row) for row in content["layers"]],
        "with_energy": seen["energy"] is not None,
        "not_measured": sorted(content["not_measured"].items()),
    }


def _layer(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["layer"],
        row["operators"] if isinstance(row["operators"], str) else "+".join(row["operators"]),
        rows.significant(row["microseconds"]),
        f"{100 * row['share']:.1f} %",
        figures.scaled(row["macs"]),
        figures.size(row["bytes"]),
        row["bound"] or figures.NOTHING,
        rows.joules(row["joules_by_time"]) if row["joules_by_time"] is not None else "",
    )


def _published(part: Mapping[str, Any] | None, files: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if part is None:
        return None
    return {
        "title": f"{part['suite']}, {part['task']}",
        "note": part["note"],
        "source": part["source"],
        "own": [
            (
                seen["name"],
                figures.milliseconds(seen["latency_ms"]["p50"] if seen["latency_ms"] else None),
                rows.joules(seen["energy"]["joules_per_inference"] if seen["energy"] else None),
                rows.metric_text(seen),
            )
            for seen in files
        ],
        "rows": [_result(row) for row in part["rows"]],
    }


def _result(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["submitter"],
        " ".join(filter(None, [row["board"], row["software"]])),
        row["task"],
        f"{row['clock_mhz']:g}" if row["clock_mhz"] else "",
        figures.milliseconds(row["latency_ms"]),
        rows.joules(row["energy_uj"] / 1e6) if row["energy_uj"] else "not submitted",
        f"{row['top1_percent']:g} %" if row["top1_percent"] else "",
    )
