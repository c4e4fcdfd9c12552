"""Curves of runs: a figure over rounds, bytes or time, a line a cell, a band for its spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit.report.plots import _figure, _svg
from edgekit.runs.line import wall_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
# Okabe and Ito, 2008: told apart with any kind of colour vision; legible on light and dark paper
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8F98", "#A6761D")
LABELS = {
    "round": "rounds",
    "epoch": "passes over the data",
    "bytes_sent.mean": "MiB sent by an agent",
    "virtual_seconds": "virtual seconds",
    "seconds": "seconds",
    "elapsed": "seconds (over a broker: wall time; simulated: virtual)",
    "gradient_evaluations": "gradient evaluations of an agent",
    "consensus_distance": "consensus distance",
    "test_loss": "test loss",
}


@dataclass(frozen=True)
class Curve:
    """A named line: x and y over its points, and a band [low, high] around it where there is one.

    place: among all cells of a page, so that each keeps its colour where another was not measured.
    """

    name: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    place: int | None = None


Lines = Sequence[Mapping[str, Any]]


def curve(name: str, runs: Sequence[Lines], x: str, y: str, *, band: str = "seeds") -> Curve | None:
    """The mean over runs (a list of lines each) of column y over column x; None where either was not measured.

    band "seeds": the lowest and highest run; "agents": the lowest and highest agent, mean over runs.
    """
    length = min((len(lines) for lines in runs), default=0)
    xs, ys = (_columns(runs, name, length) for name in (x, y))
    if xs is None or ys is None:
        return None
    scale = 2**20 if x.startswith("bytes_sent") else 1.0
    low, high = ys.min(0), ys.max(0)
    if band == "agents":
        ends = [_columns(runs, f"agent_metric.{end}", length) for end in ("min", "max")]
        low, high = (ys.mean(0) if end is None else end.mean(0) for end in ends)
    return Curve(name, xs.mean(0) / scale, ys.mean(0), low, high)


def curves_svg(
    curves: Iterable[Curve], *, x_label: str, y_label: str, percent: bool = False, log: bool = False
) -> str:
    """The curves as inline SVG, each named at its end."""
    with _figure(6.6, 3.6, f"{x_label} {y_label}") as (figure, axes):
        draw(axes, list(curves), x_label=x_label, y_label=y_label, percent=percent, log=log)
        figure.tight_layout()
        return _svg(figure, f"{y_label} against {x_label}")


def curves_figure(history: Any, *, x: str, y: str) -> Figure:
    """One column over another of every cell of a history, as a matplotlib figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    cells: dict[str, list[Any]] = {}
    for run in history.runs:
        cells.setdefault(run.cell, []).append(run.lines)
    made = [curve(name, runs, x, y) for name, runs in cells.items()]
    draw(figure.add_subplot(), [one for one in made if one], x_label=label(x), y_label=label(y))
    return figure


def draw(
    axes: Axes,
    curves: Sequence[Curve],
    *,
    x_label: str,
    y_label: str,
    percent: bool = False,
    log: bool = False,
) -> None:
    """Lines, bands and a legend."""
    factor = 100.0 if percent else 1.0
    for index, one in enumerate(curves):
        color = COLORS[(index if one.place is None else one.place) % len(COLORS)]
        axes.plot(one.x, factor * one.y, color=color, linewidth=1.8, label=one.name)
        if one.low is not None and one.high is not None and len(one.x) > 1:
            axes.fill_between(
                one.x, factor * one.low, factor * one.high, color=color, alpha=0.16, linewidth=0
            )
    if log and all((one.y > 0).any() for one in curves):
        axes.set_yscale("log")
        for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            formatted(_power)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if len(curves) > 1 or any(one.place for one in curves):
        axes.legend(frameon=False, fontsize=8.5)


def _power(value: float, _: float) -> str:
    """A tick of a logarithmic axis, as 1e-3; only those at 1, 2 and 5 are named."""
    text = f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return text if text[0] in "125" else ""


def label(column: str) -> str:
    """A column of the lines in words."""
    return LABELS.get(column, column.replace("_", " ").replace(".", ", "))


def _columns(runs: Sequence[Lines], name: str, length: int) -> Floats | None:
    """[runs, length] of a dotted column; None where any value is missing."""
    read: Callable[[Mapping[str, Any]], Any] = lambda line: _at(line, name)  # noqa: E731
    values = [[read(line) for line in lines[:length]] for lines in runs]
    if not length or any(value is None for row in values for value in row):
        return None
    return np.array(values, np.float64)


def _at(line: Mapping[str, Any], name: str) -> Any:
    if name == "elapsed":  # on the links: by the simulator's clock, or by the wall's where they are real
        real = wall_seconds(line)
        return line.get("virtual_seconds") if real is None else real
    value: Any = line
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
