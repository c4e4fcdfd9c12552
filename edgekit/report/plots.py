"""Plots as inline SVG whose colours are CSS variables: they follow the page's light or dark scheme."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

# matplotlib needs real colours; each stands for a CSS variable and is replaced in the SVG
INK, MUTED, GRID, BEFORE, AFTER, PAPER = "#010203", "#020304", "#030405", "#040506", "#050607", "#060708"
BAD = "#070809"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    BEFORE: "--before",
    AFTER: "--after",
    PAPER: "--card",
    BAD: "--bad",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@dataclass(frozen=True)
class Point:
    """A labelled point of the trade-off; an error bar is [low, high] or None."""

    label: str
    cost: float
    metric: float
    metric_interval: Sequence[float] | None = None
    cost_interval: Sequence[float] | None = None
    last: bool = False


def trade_off_svg(points: Sequence[Point], *, x_label: str, y_label: str, joined: bool = True) -> str:
    """The metric against a cost, each point labelled; joined in order where they are the steps of one run."""
    with _figure(6.6, 3.9, "trade-off") as (figure, axes):
        if joined:
            axes.plot(
                [p.cost for p in points],
                [p.metric for p in points],
                color=MUTED,
                linewidth=1,
                linestyle=(0, (2, 3)),
            )
        for point in points:
            _draw(axes, point)
        axes.set_xlim(0, 1.18 * max(max(p.cost, (p.cost_interval or [0])[-1]) for p in points))
        axes.margins(y=0.22)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        figure.tight_layout()
        _label(figure, axes, points, joined)
        return _svg(figure, f"{y_label} against {x_label}")


def layers_svg(rows: Sequence[tuple[str, float | None, float | None]]) -> str:
    """Horizontal bars in pairs: microseconds of each layer in the baseline and in the result."""
    with _figure(6.6, 0.9 + 0.36 * len(rows), "layers") as (figure, axes):
        widest = max((max(before or 0.0, after or 0.0) for _, before, after in rows), default=1.0) or 1.0
        for index, (_, before, after) in enumerate(rows):
            _bar(axes, index - 0.19, before, BEFORE, widest)
            _bar(axes, index + 0.19, after, AFTER, widest)
        axes.set_yticks(range(len(rows)), [_short(row[0]) for row in rows])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, widest * 1.12)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("time a run (us)")
        figure.tight_layout()
        return _svg(figure, "time of each layer in microseconds, baseline and result")


def _draw(axes: Axes, point: Point) -> None:
    color = AFTER if point.last else BEFORE
    for axis, interval in (("y", point.metric_interval), ("x", point.cost_interval)):
        if interval is None:
            continue
        across = ([point.cost] * 2, interval) if axis == "y" else (interval, [point.metric] * 2)
        axes.plot(*across, color=color, linewidth=1.6, alpha=0.55, solid_capstyle="butt")
    axes.plot(
        [point.cost],
        [point.metric],
        marker="o",
        markersize=8,
        color=color,
        markeredgecolor=PAPER,
        markeredgewidth=1.5,
        linestyle="none",
    )


def _bar(axes: Axes, place: float, value: float | None, color: str, widest: float) -> None:
    from edgekit.report.figures import significant

    axes.barh(place, value or 0.0, height=0.34, color=color)
    text = "merged into another layer" if value is None else significant(value, 2)
    axes.text((value or 0.0) + widest * 0.008, place, text, va="center", fontsize=7.5, color=MUTED)


def _label(figure: Figure, axes: Axes, points: Sequence[Point], joined: bool) -> None:
    """Each label at the first place around its point that hides nothing; greedy, last point first."""
    from matplotlib.transforms import Bbox

    pixel = axes.transData.transform
    taken: list[Bbox] = _line_boxes([pixel((p.cost, p.metric)) for p in points]) if joined else []
    for point in points:
        x, y = pixel((point.cost, point.metric))
        taken.append(Bbox.from_extents(x - 7, y - 7, x + 7, y + 7))
        for low, high in [point.metric_interval] if point.metric_interval else []:
            taken.append(Bbox.from_extents(x - 2, pixel((0, low))[1], x + 2, pixel((0, high))[1]))
        for low, high in [point.cost_interval] if point.cost_interval else []:
            taken.append(Bbox.from_extents(pixel((low, 0))[0], y - 2, pixel((high, 0))[0], y + 2))
    for point in reversed(points):
        text = axes.annotate(
            _short(point.label),
            (point.cost, point.metric),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=9.5,
            color=INK,
            fontweight="bold" if point.last else "normal",
        )
        taken.append(_place(text, figure, axes, taken))


def _line_boxes(places: Sequence[Any]) -> list[Bbox]:
    """Small boxes along the joining line, so that no label is written across it."""
    from matplotlib.transforms import Bbox

    return [
        Bbox.from_extents(x - 1.5, y - 1.5, x + 1.5, y + 1.5)
        for start, end in pairwise(places)
        for x, y in (start + (end - start) * step / 60 for step in range(61))
    ]


_AROUND = [
    (
        side * reach,
        lift * reach,
        "left" if side > 0 else "right" if side < 0 else "center",
        "bottom" if lift > 0 else "top" if lift < 0 else "center",
    )
    for reach in (7, 12, 20, 32, 46)
    for side, lift in ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
]


def _place(text: Any, figure: Figure, axes: Axes, taken: Sequence[Bbox]) -> Bbox:
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame = axes.get_window_extent(renderer)
    best: tuple[float, Any, Any] | None = None
    for across, up, horizontal, vertical in _AROUND:
        text.set(position=(across, up), horizontalalignment=horizontal, verticalalignment=vertical)
        box = text.get_window_extent(renderer).padded(1)
        outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
        hidden = sum(_overlap(box, other) for other in taken)
        cost = hidden + 0.15 * (across * across + up * up) + 1e6 * outside  # far from its point is bad too
        if best is None or cost < best[0]:
            best = (cost, (across, up, horizontal, vertical), box)
    across, up, horizontal, vertical = best[1]  # type: ignore[index]
    text.set(position=(across, up), horizontalalignment=horizontal, verticalalignment=vertical)
    return best[2]  # type: ignore[index, no-any-return]


def _overlap(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width * height if width > 0 and height > 0 else 0.0


def _short(label: str, most: int = 34) -> str:
    return label if len(label) <= most else f"{label[:12]}…{label[-(most - 13) :]}"


class _figure:  # noqa: N801  (used as a verb in `with`)
    """A figure in the report's style, drawn without pyplot and without touching the caller's settings."""

    def __init__(self, width: float, height: float, salt: str) -> None:
        self.size, self.salt = (width, height), salt

    def __enter__(self) -> tuple[Figure, Axes]:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.context = matplotlib.rc_context({**_STYLE, "svg.hashsalt": self.salt})
        self.context.__enter__()
        figure = Figure(figsize=self.size, dpi=72)
        FigureCanvasAgg(figure)
        return figure, figure.add_subplot()

    def __exit__(self, *details: Any) -> None:
        self.context.__exit__(*details)


def _svg(figure: Figure, title: str) -> str:
    """The figure as an SVG element for HTML: no prologue, no metadata, no namespaces, themed colours."""
    from html import escape

    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"([^>]*?)width="[^"]*"', r"<svg \1\2", text, count=1)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    text = re.sub(r"font: ([^;\"]*)'DejaVu Sans'", r"font: \1var(--font)", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(title, quote=True)}" ', 1)
