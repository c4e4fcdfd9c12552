"""Labels over agents as a picture: a bar an agent, a colour a class; a heat map where there are many agents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import BadInput
from edgekit.report.curves import COLORS
from edgekit.report.plots import AFTER, INK, PAPER, _figure, _short, _svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

Counts = npt.NDArray[np.floating]
Box = tuple[float, float, float, float]  # left, top, width, height
MOST_BARS = 100
MOST_NAMES = 12  # classes that a legend can tell apart
MORE_COLORS = (*COLORS, "#F0E442", "#882255", "#44AA99", "#332288")  # the last three: Tol, 2021
SHADES = (0.12, 0.34, 0.56, 0.78, 1.0)  # opacity of a fifth of the range each


def labels_svg(
    histograms: Counts, class_names: Sequence[str] = (), agents: Sequence[object] | None = None
) -> str:
    """Samples of each class over agents as inline SVG, from counts [agents, classes].

    class_names name the columns and agents the rows; numbers where they are left out. Up to 100 agents are stacked
    bars of samples; more are a heat map of shares. Raises BadInput where names and counts do not fit.
    """
    counts = np.asarray(histograms, np.float64)
    if counts.ndim != 2 or not counts.size:
        raise BadInput(
            f"labels: the counts are {list(counts.shape)}. Give [agents, classes], one or more of each."
        )
    names = _names("class names", class_names, counts.shape[1])
    rows = _names("agents", () if agents is None else agents, counts.shape[0])
    draw = _bars if len(rows) <= MOST_BARS else _heat_map
    with _figure(6.6, _height(len(rows)), f"labels {counts.shape}") as (figure, axes):
        draw(axes, counts, names)
        _agent_axis(axes, rows)
        figure.tight_layout()
        return _svg(figure, f"labels of {len(rows)} agents")


def _names(what: str, given: Sequence[object], count: int) -> list[str]:
    if len(given) not in (0, count):
        raise BadInput(f"labels: there are {len(given)} {what} for {count}. Give one each.")
    return [_short(str(name), 18) for name in (given if len(given) else range(count))]


def _height(rows: int) -> float:
    """Inches; bars become thinner as there are more."""
    return 1.3 + (rows * min(0.3, max(0.085, 4.0 / rows)) if rows <= MOST_BARS else 6.5)


def _bars(axes: Axes, counts: Counts, names: Sequence[str]) -> None:
    """Samples of each agent in order of their class."""
    starts, few = np.cumsum(counts, axis=1) - counts, len(names) <= MOST_NAMES
    for number, color in enumerate(_colors(len(names))):
        rows, widths = np.flatnonzero(counts[:, number]), counts[:, number]
        boxes = [(starts[row, number], row - 0.42, widths[row], 0.84) for row in rows]
        _fill(axes, boxes, facecolor=color, edgecolor=PAPER, linewidth=0.4 * few, label=names[number])
    axes.set_xlim(0, 1.01 * float(counts.sum(1).max() or 1))
    axes.set_xlabel("samples")
    axes.grid(visible=False, axis="y")
    if few:
        longest = max(map(len, names))
        _legend(axes, columns=min(len(names), 6 if longest <= 8 else 5 if longest <= 12 else 4))
    else:
        axes.set_title(f"from class {names[0]} (left) to {names[-1]} (right)", fontsize=9, loc="left")


def _heat_map(axes: Axes, counts: Counts, names: Sequence[str]) -> None:
    """The part that each class has of an agent's samples, in five shades."""
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shades = np.where(parts > 0, np.ceil(parts * len(SHADES)).astype(np.int64), 0)
    for number, opacity in enumerate(SHADES, start=1):
        low, high = (100 * (number - step) // len(SHADES) for step in (1, 0))
        style = {"facecolor": AFTER, "alpha": opacity, "linewidth": 0, "label": f"{low}-{high} %"}
        _fill(axes, list(_runs(shades == number)), **style)
    step = max(1, -(-len(names) // 20))
    axes.set_xticks(range(0, len(names), step), names[::step])
    if max(map(len, names)) * len(names[::step]) > 60:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xlabel("class")
    axes.grid(visible=False)
    _legend(axes, columns=len(SHADES), title="part of an agent's samples")


def _runs(filled: npt.NDArray[np.bool_]) -> Iterator[Box]:
    """Boxes around filled cells [rows, columns], those below one another as one."""
    padded = np.pad(filled, ((1, 1), (0, 0))).astype(np.int8)
    change = np.diff(padded, axis=0)
    for column in range(filled.shape[1]):
        starts, ends = (np.flatnonzero(change[:, column] == sign) for sign in (1, -1))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            yield column - 0.46, start - 0.5, 0.92, end - start


def _fill(axes: Axes, boxes: Sequence[Box], **style: Any) -> None:
    """All boxes as one path, which keeps the SVG small."""
    from matplotlib.patches import PathPatch

    axes.add_patch(PathPatch(_path(boxes), **style))


def _path(boxes: Sequence[Box]) -> Path:
    from matplotlib.path import Path

    corners = [
        [(left, top), (left + width, top), (left + width, top + height), (left, top + height), (left, top)]
        for left, top, width, height in boxes
    ]
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * len(boxes)
    return Path(np.array(corners, np.float64).reshape(-1, 2), codes)


def _agent_axis(axes: Axes, rows: Sequence[str]) -> None:
    """Agents from top to bottom, as many of them named as there is room for."""
    step = next(step for step in (1, 5, 10, 25, 50, 100, 250, 500, len(rows)) if len(rows) / step <= 25)
    axes.set_yticks(range(0, len(rows), step), list(rows[::step]))
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_ylabel("agent")


def _legend(axes: Axes, *, columns: int, title: str | None = None) -> None:
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncol=columns,
        frameon=False,
        fontsize=8.5,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.2,
        title=title,
        title_fontsize=8.5,
    )


def _colors(count: int) -> list[str]:
    """A colour a class: told apart by any eye where they are few, along the rainbow of turbo where they are many."""
    if count <= MOST_NAMES:
        return list(MORE_COLORS[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["turbo"](0.05 + 0.9 * number / (count - 1))) for number in range(count)]
