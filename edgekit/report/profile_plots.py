"""Plots of a profile: energy of every window, and files by cost and metric with their front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgekit.report import figures
from edgekit.report.plots import AFTER, BEFORE, INK, MUTED, Point, _figure, _short, _svg, trade_off_svg
from edgekit.report.profile_rows import AXES

FACTOR: Final = {"latency_ms": 1.0, "energy": 1e3, "bytes": 1 / 1024}


def energy_svg(files: Sequence[Mapping[str, Any]]) -> str:
    """A line a file: a dot for each window's joules per inference, the mean and its 95 % interval below the dots."""
    with _figure(6.6, 1.0 + 0.62 * len(files), "energy windows") as (figure, axes):
        for place, seen in enumerate(files):
            energy = seen["energy"]
            values = [
                item["joules_per_inference"] for item in energy["windows"] if item["joules"] is not None
            ]
            axes.plot(
                [1e3 * value for value in values],
                [place - 0.14] * len(values),
                "o",
                color=BEFORE,
                markersize=6,
            )
            low, high = energy["ci95"] or (energy["joules_per_inference"],) * 2
            axes.plot([1e3 * low, 1e3 * high], [place + 0.16] * 2, color=AFTER, linewidth=3)
            axes.plot([1e3 * energy["joules_per_inference"]], [place + 0.16], "|", color=INK, markersize=13)
        axes.set_yticks(range(len(files)), [_short(seen["name"]) for seen in files])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(files) - 0.4, -0.6)
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("energy per inference (mJ)", color=MUTED)
        figure.tight_layout()
        return _svg(figure, "energy per inference of every window, its mean and 95 % interval")


def front_svg(front: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> str:
    """The files of one front; those on it in blue and bold."""
    known = [seen for seen in files if seen["name"] in front["files"]]
    points = [_point(seen, front) for seen in known]
    label = _metric_label(known[0]) if front["y"] == "metric" else AXES[front["y"]]
    return trade_off_svg(points, x_label=AXES[front["x"]], y_label=label, joined=False)


def _point(seen: Mapping[str, Any], front: Mapping[str, Any]) -> Point:
    cost, cost_interval = _placed(seen, front["x"])
    height, height_interval = _placed(seen, front["y"])
    return Point(
        seen["name"],
        cost=cost,
        metric=height,
        metric_interval=height_interval,
        cost_interval=cost_interval,
        last=seen["name"] in front["front"],
    )


def _placed(seen: Mapping[str, Any], axis: str) -> tuple[float, list[float] | None]:
    """A coordinate in the axis' unit, and the ends of its bar."""
    if axis == "latency_ms":
        times = seen["latency_ms"]
        return times["p50"], [times["min"], times["p90"]]
    if axis == "bytes":
        return seen["bytes"] * FACTOR[axis], None
    part = seen[axis]
    value, factor = (part["value"], 1.0) if axis == "metric" else (part["joules_per_inference"], FACTOR[axis])
    if axis == "metric" and figures.is_share(part):
        factor = 100.0
    ends = [factor * end for end in part["ci95"]] if part["ci95"] else None
    return factor * value, ends


def _metric_label(seen: Mapping[str, Any]) -> str:
    metric = seen["metric"]
    return figures.words(metric["name"]) + (" (%)" if figures.is_share(metric) else "")
