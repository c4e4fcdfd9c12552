"""The report as one self-contained HTML file: inline CSS, inline SVG, no script, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgekit.errors import MissingDependency
from edgekit.report import figures
from edgekit.report.metrics import metric_rows
from edgekit.report.plots import Point, layers_svg, trade_off_svg
from edgekit.report.report import write_text
from edgekit.report.rows import boards, comparison, latency_note, not_measured, on_board
from edgekit.report.table import audit_line
from edgekit.report.verdict import gained, machine

MOST_LAYERS = 24


def write_html(report: Mapping[str, Any], path: Path | str) -> Path:
    """Write the page of one report (the content of a report.json)."""
    write_text(Path(path), _render("template.html.j2", view(report)))
    return Path(path)


def write_compare_html(
    reports: Sequence[Mapping[str, Any]], path: Path | str, *, names: Sequence[str] = ()
) -> Path:
    """Write the page that puts several reports (boards, or runs) side by side."""
    names = list(names) or _names(reports)
    columns = [
        {
            "name": name,
            "verdict": report["verdict"],
            "good": gained(report) and not report["missed"],
            "report": report,
            "rows": comparison(report),
            "machine": machine(report),
        }
        for name, report in zip(names, reports, strict=True)
    ]
    points = [
        Point(column["name"], last=True, **place)
        for column in columns
        if (place := _place(column["report"]["result"], "latency_ms"))
    ]
    plot = ""
    if len(points) > 1:
        plot = trade_off_svg(
            points, x_label=_AXES["latency_ms"], y_label=_metric_label(reports[0]), joined=False
        )
    names = list(dict.fromkeys(name for report in reports for name, *_ in on_board(report)))
    own = boards(reports)[1][-len(names) :] if names else []
    metrics = metric_rows([report.get("metrics", []) for report in reports])
    values = {"columns": columns, "plot": plot, "own": own, "metrics": metrics}
    write_text(Path(path), _render("compare.html.j2", values))
    return Path(path)


def summary_html(report: Mapping[str, Any]) -> str:
    """The verdict and the before/after table, for a notebook."""
    return _render("summary.html.j2", view(report, plots=False))


def view(report: Mapping[str, Any], *, plots: bool = True) -> dict[str, Any]:
    """What the template shows, all figures as text."""
    steps, axis = trade_off_points(report)
    latency = report["result"]["latency_ms"] or report["baseline"]["latency_ms"]
    return {
        "report": report,
        "machine": machine(report),
        "good": gained(report) and not report["missed"],
        "rows": comparison(report),
        "figures": on_board(report),
        "steps": [_step(step) for step in report["steps"]],
        "trade_off": trade_off_svg(steps, x_label=_AXES[axis], y_label=_metric_label(report))
        if plots and len(steps) > 1
        else "",
        "axis": axis,
        "layers": layers_svg(layer_rows(report["operators"])) if plots and report["operators"] else "",
        "layer_count": len(report["operators"]),
        "audit_line": audit_line(report["audit"]) if report["audit"] else "",
        "float_layers": float_layers(report),
        "findings": _findings(report),
        "not_measured": not_measured(report),
        "metrics": metric_rows([report["metrics"]]) if report.get("metrics") else [],
        "kept": [_kept(row) for row in report["kept_in_float"]],
        "latency": latency,
        "measuring": _facts(report["measuring"], skip=("command",)),
        "environment": _facts(report["environment"]),
        "timing": [(figures.words(name), figures.seconds(value)) for name, value in report["timing"].items()],
    }


def trade_off_points(report: Mapping[str, Any]) -> tuple[list[Point], str]:
    """The baseline, the steps and the result as points, and their axis.

    Latency where at least two of them have it, else MACs; what has no metric or no such cost is left out.
    """
    parts = [
        ("fp32 baseline", report["baseline"]),
        *((f"{place}. {step['name']}", step["metrics"]) for place, step in enumerate(report["steps"], 1)),
        (f"artefact ({report['result']['precision']})", report["result"]),
    ]
    for axis in ("latency_ms", "macs"):
        places = [
            (label, place, part is report["result"]) for label, part in parts if (place := _place(part, axis))
        ]
        if len(places) > 1:
            break
    return [Point(label, last=last, **place) for label, place, last in _merged(places)], axis


def _merged(places: list[tuple[str, dict[str, Any], bool]]) -> list[tuple[str, dict[str, Any], bool]]:
    """The last step and the artefact are often one measurement: then they are one point."""
    if len(places) > 1 and places[-1][1] == places[-2][1]:
        return [*places[:-2], (places[-2][0], places[-1][1], True)]
    return places


def layer_rows(operators: Sequence[Mapping[str, Any]]) -> list[tuple[str, float | None, float | None]]:
    """(layer, before, after) in microseconds; beyond the slowest layers the rest is one sum."""
    rows = [(row["layer"], row["baseline_us"], row["result_us"]) for row in operators]
    if len(rows) <= MOST_LAYERS:
        return rows
    rest = rows[MOST_LAYERS - 1 :]
    sums = [sum(row[side] or 0.0 for row in rest) for side in (1, 2)]
    return [*rows[: MOST_LAYERS - 1], (f"{len(rest)} other layers", sums[0], sums[1])]


def float_layers(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """What of the artefact computes in float: node, source layer, why, remedy."""
    findings = {item["node"]: item for item in (report["audit"] or {}).get("findings", [])}
    placement = (report["audit"] or {}).get("placement", {})
    nodes = [node for node, place in placement.items() if place == "float"]
    return [
        {
            "node": node,
            "layer": findings.get(node, {}).get("layer", ""),
            "why": findings.get(node, {}).get("what", "the runtime has no integer kernel chosen for it"),
            "remedy": findings.get(node, {}).get("remedy", ""),
        }
        for node in nodes
    ]


_AXES = {"latency_ms": "latency, median (ms)", "macs": "MACs a sample (millions)"}


def _place(part: Mapping[str, Any], axis: str) -> dict[str, Any] | None:
    metric, cost = part["metric"], part[axis]
    if metric is None or cost is None:
        return None
    factor = 100.0 if figures.is_share(metric) else 1.0
    interval = [factor * end for end in metric["ci95"]] if metric["ci95"] else None
    place = {"metric": factor * metric["value"], "metric_interval": interval}
    if axis == "macs":
        return {**place, "cost": cost / 1e6}
    return {**place, "cost": cost["p50"], "cost_interval": [cost["min"], cost["p90"]]}


def _metric_label(report: Mapping[str, Any]) -> str:
    metric = report["result"]["metric"] or report["baseline"]["metric"]
    if metric is None:
        return "metric"
    return figures.words(metric["name"]) + (" (%)" if figures.is_share(metric) else "")


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    change, metrics = step["change"], step["metrics"]
    show = {"params": figures.scaled, "macs": figures.scaled, "bytes": figures.size}
    cells = {
        name: _arrow(change["before"][name], change["after"][name], shown) for name, shown in show.items()
    }
    latency = metrics["latency_ms"]
    return {
        "name": step["name"],
        "notes": change["notes"],
        "metric": figures.score(metrics["metric"]),
        "of": metrics["metric"]["of"] if metrics["metric"] else metrics["not_measured"].get("metric", ""),
        "latency": figures.milliseconds(latency["p50"] if latency else None),
        "latency_note": latency_note(latency) or metrics["not_measured"].get("latency_ms", ""),
        **cells,
    }


def _arrow(before: float, after: float, show: Any) -> dict[str, str]:
    note = "" if before == after or not before else f"{100 * (after - before) / before:+.0f}\u00a0%"
    return {"value": show(after), "note": f"from {show(before)}, {note}" if note else "unchanged"}


def _findings(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Findings that the table of float layers does not show already, the gravest first."""
    shown = {row["node"] for row in float_layers(report)}
    listed = [
        *report["findings"],
        *(item for item in (report["audit"] or {}).get("findings", []) if item["node"] not in shown),
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(listed, key=lambda item: order.get(item["severity"], 3))


def _kept(row: Mapping[str, Any]) -> dict[str, str]:
    show = lambda value: figures.NOTHING if value is None else figures.milliseconds(value / 1000)  # noqa: E731
    return {
        "layer": row["layer"],
        "reason": row["reason"],
        "int8": show(row["int8_us"]),
        "float": show(row["float_us"]),
    }


def _facts(values: Mapping[str, Any], skip: Sequence[str] = ()) -> list[tuple[str, str]]:
    words = {True: "yes", False: "no", None: "unknown"}

    def shown(value: Any) -> str:
        if isinstance(value, bool) or value is None:
            return words[value]
        return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

    return [(figures.words(name), shown(value)) for name, value in values.items() if name not in skip]


def _names(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    boards = [report["board"] for report in reports]
    if len(set(boards)) == len(boards):
        return boards
    return [
        f"{report['model']} {report['result']['precision']} ({count})"
        for count, report in enumerate(reports, 1)
    ]


@lru_cache(maxsize=1)
def _environment() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingDependency("jinja2", "host", "the HTML report") from error
    return Environment(
        loader=PackageLoader("edgekit.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, values: Mapping[str, Any]) -> str:
    return _environment().get_template(template).render(**values)
