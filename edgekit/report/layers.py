"""The layers of a profile for people: a roofline, the memory timeline, and a table on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgekit.report import plots
from edgekit.report.figures import scaled, significant, size, words

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text
    from rich.console import Console

MEANINGS = {
    "compute": "arithmetic; fewer multiply-adds or a lower precision help",
    "memory": "bytes moved; smaller tensors and fewer passes over them help",
    "kernel": "neither; this shape suits its kernel badly: try another width, precision or operator",
    "overhead": "dispatch; fewer nodes help, fewer multiply-adds hardly",
}
_LOOKS = {
    "compute": (plots.AFTER, "o"),
    "memory": (plots.BAD, "s"),
    "kernel": (plots.INK, "D"),
    "overhead": (plots.BEFORE, "^"),
}
LABELLED = 5  # layers named in the roofline
LISTED = 25  # layers printed on a terminal
TICKS = 24  # nodes named under the memory timeline

Content = Mapping[str, Any]


def roofline_plot(content: Content) -> str:
    """Multiply-adds a second against multiply-adds a byte, under the ceilings; "" where nothing was measured.

    A layer's area is its share of the time.
    """
    drawn = [row for row in content["layers"] if row["macs"] and row["intensity"]]
    if not drawn or not content["ceilings"]:
        return ""
    with plots._figure(6.6, 4.4, "roofline") as (figure, axes):
        _frame(axes, drawn, content["ceilings"])
        labels = _ceilings(axes, drawn, content["ceilings"])
        legend = _legend(axes, content["layers"])
        for row in drawn:
            _mark(axes, row)
        axes.set_xlabel(_outside(content["layers"]))
        axes.set_ylabel("G multiply-adds a second")
        figure.tight_layout()
        _tilt(axes, labels)
        _names(figure, axes, drawn, [*labels, legend, *axes.lines])
        return plots._svg(
            figure, "roofline: multiply-adds a second against multiply-adds a byte of each layer"
        )


def memory_plot(content: Content) -> str:
    """Live activation bytes at each node in the order they run, the peak marked; "" where nothing ran."""
    moments = content["memory"]
    if not moments:
        return ""
    unit, name = _unit(max(moment["live_bytes"] for moment in moments))
    heights = [moment["live_bytes"] / unit for moment in moments]
    top = heights.index(max(heights))
    with plots._figure(6.6, 3.6, "memory") as (figure, axes):
        colors = [plots.AFTER if index == top else plots.BEFORE for index in range(len(heights))]
        axes.bar(range(len(heights)), heights, width=0.86, color=colors)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel(f"live activations ({name})")
        axes.set_ylim(0, 1.22 * max(*heights, (content["runtime_peak_bytes"] or 0) / unit))
        axes.set_xlim(-0.6, len(heights) - 0.4)
        _ticks(axes, moments)
        _runtime_line(axes, content["runtime_peak_bytes"], unit)
        _peak(axes, top, moments, heights[top], (content["runtime_peak_bytes"] or 0) / unit)
        figure.tight_layout()
        return plots._svg(figure, "activation bytes that are alive at each node, in the order they run")


def print_layers(content: Content, console: Console) -> None:
    """A table of the layers, slowest first, what bounds them, the ceilings and the peak of memory."""
    from rich.table import Table

    if content["layers"]:
        made = Table(header_style="bold")
        for title in ("layer", "operators"):
            made.add_column(title, overflow="fold")
        for title in ("us", "share", "MACs", "moved", "MACs a byte"):
            made.add_column(title, justify="right")
        for title in ("bound by", "attained"):
            made.add_column(title, justify="left" if title == "bound by" else "right")
        for row in _rows(content["layers"]):
            made.add_row(*row)
        console.print(made)
    for line in _lines(content):
        console.print(line, highlight=False, markup=False)


def _rows(layers: Sequence[Content]) -> Iterator[tuple[str, ...]]:
    for row in layers[:LISTED]:
        yield (
            row["layer"],
            row["operators"],
            significant(row["microseconds"]),
            f"{row['share']:.1%}",
            scaled(row["macs"]),
            size(row["bytes"]),
            "-" if row["intensity"] is None else significant(row["intensity"]),
            row["bound"],
            f"{row['attained']:.0%}",
        )
    rest = layers[LISTED:]
    if rest:
        time, share = sum(row["microseconds"] for row in rest), sum(row["share"] for row in rest)
        yield (f"{len(rest)} others", "", significant(time), f"{share:.1%}", "", "", "", "", "")


def _lines(content: Content) -> Iterator[str]:
    if content["layers"]:
        for bound, share in _shares(content["layers"]).items():
            yield f"{bound}, {share:.1%} of the time: {MEANINGS[bound]}"
        yield "attained: the share of the time that arithmetic and memory traffic explain at the ceilings"
        yield f"ceilings measured in this run: {_ceiling_words(content['ceilings'])}"
        yield (
            f"the layers are a run of {significant(content['latency_us'])} us without the profiler, which "
            f"added {significant(content['profiler_us'], 2)} us a node"
        )
    if content["memory"]:
        held = content["runtime_peak_bytes"]
        yield (
            f"activations: at most {size(content['peak_activation_bytes'])} in {_peak_layer(content)}; weights "
            f"{size(content['weight_bytes'])}"
            + (f"; the runtime's allocator held {size(held)}, inputs apart" if held is not None else "")
        )
    reasons = content["not_measured"]
    for reason in dict.fromkeys(reasons.values()):
        names = ", ".join(words(name) for name in reasons if reasons[name] == reason)
        yield f"{names}: not measured, {reason}"


def _peak_layer(content: Content) -> str:
    return str(max(content["memory"], key=lambda moment: moment["live_bytes"])["layer"])


def _ceiling_words(ceilings: Content) -> str:
    rates = [f"{scaled(rate)} {name} MACs/s" for name, rate in ceilings["multiply_adds_per_second"].items()]
    return ", ".join(
        [
            *rates,
            f"{scaled(ceilings['cache_bytes_per_second'])}B/s in the cache of "
            f"{size(ceilings['last_level_cache_bytes'])}",
            f"{scaled(ceilings['bytes_per_second'])}B/s from memory",
            f"{significant(ceilings['overhead_us'], 2)} us a node, {significant(ceilings['call_us'], 2)} us a call",
        ]
    )


def _shares(layers: Sequence[Content]) -> dict[str, float]:
    """The share of the time that each bound has, the largest first."""
    shares = {bound: sum(row["share"] for row in layers if row["bound"] == bound) for bound in MEANINGS}
    return dict(sorted(((k, v) for k, v in shares.items() if v), key=lambda pair: -pair[1]))


def _rate(row: Content) -> float:
    """G multiply-adds a second."""
    return float(row["macs"] / row["microseconds"] / 1e3)


def _frame(axes: Axes, drawn: Sequence[Content], ceilings: Content) -> None:
    """Logarithmic axes around the layers and the corner of the lowest roof, with plain numbers."""
    highest = max(_used(drawn, ceilings).values())
    across = [row["intensity"] for row in drawn]
    ridges = [1e9 * highest / ceilings[name] for name in ("cache_bytes_per_second", "bytes_per_second")]
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(min(_rate(row) for row in drawn) / 3, highest * 3)
    axes.set_xlim(min(*across, ridges[0]) / 3, max(*across, ridges[1]) * 3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _: "")
        axis.set_tick_params(which="minor", size=0)


def _used(drawn: Sequence[Content], ceilings: Content) -> dict[str, float]:
    """The ceilings, G multiply-adds a second, of the precisions that occur."""
    present = {row["precision"] for row in drawn}
    peaks = {name: rate / 1e9 for name, rate in ceilings["multiply_adds_per_second"].items()}
    return {name: rate for name, rate in peaks.items() if name in present} or peaks


def _ceilings(axes: Axes, drawn: Sequence[Content], ceilings: Content) -> list[Text]:
    """Draw the roofs; their labels."""
    (left, right), (low, _) = axes.get_xlim(), axes.get_ylim()
    peaks = _used(drawn, ceilings)
    labels = []
    for name, rate in peaks.items():
        axes.plot([left, right], [rate, rate], color=plots.MUTED, linewidth=1.4)
        labels.append(_say(axes, right, rate, f"{name} {significant(rate)} G/s", ha="right"))
    for name, style in (("cache", "-"), ("memory", (0, (4, 3)))):
        key = "bytes_per_second" if name == "memory" else "cache_bytes_per_second"
        slope, highest = ceilings[key] / 1e9, max(peaks.values())
        axes.plot(
            [left, highest / slope],
            [left * slope, highest],
            color=plots.MUTED,
            linewidth=1.2,
            linestyle=style,
        )
        start = 1.3 * max(left, low / slope)
        text = f"{name} {significant(slope)} GB/s"
        labels.append(_say(axes, start, start * slope * 1.06, text, rotation=45))
    return labels


def _tilt(axes: Axes, labels: Sequence[Text]) -> None:
    """Turn the labels of the sloping roofs along them, once the frame has its size."""
    (x, y), (across, up) = axes.transData.transform([(1, 1), (10, 10)])
    for label in labels:
        if label.get_rotation():
            label.set_rotation(math.degrees(math.atan2(up - y, across - x)))


def _say(axes: Axes, x: float, y: float, text: str, **where: Any) -> Text:
    return axes.text(
        x, y, text, va="bottom", fontsize=8.5, color=plots.MUTED, rotation_mode="anchor", **where
    )


def _mark(axes: Axes, row: Content) -> None:
    color, marker = _LOOKS[row["bound"]]
    axes.scatter(
        [row["intensity"]],
        [_rate(row)],
        s=_area(row),
        color=color,
        marker=marker,
        alpha=0.75,
        edgecolors=plots.PAPER,
        linewidths=0.8,
        zorder=3,
    )


def _area(row: Content) -> float:
    """Square points."""
    return float(18 + 900 * row["share"])


def _legend(axes: Axes, layers: Sequence[Content]) -> Legend:
    for bound, share in _shares(layers).items():
        color, marker = _LOOKS[bound]
        label = f"{bound}, {share:.0%} of the time"
        axes.scatter([], [], s=40, color=color, marker=marker, alpha=0.75, label=label)
    return axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8.5, borderpad=0
    )


def _outside(layers: Sequence[Content]) -> str:
    absent = [row for row in layers if not (row["macs"] and row["intensity"])]
    text = "multiply-adds a byte"
    if not absent:
        return text
    share = sum(row["share"] for row in absent)
    return f"{text}\nnot drawn: {len(absent)} without multiply-adds, {share:.1%} of the time"


def _names(figure: Figure, axes: Axes, drawn: Sequence[Content], written: Sequence[Artist]) -> None:
    """The slowest layers' names, where they hide nothing, each tied to its layer."""
    from matplotlib.transforms import Bbox

    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    taken = [artist.get_window_extent(renderer).padded(2) for artist in written if _is_flat(artist)]
    for row in drawn:
        x, y = axes.transData.transform((row["intensity"], _rate(row)))
        half = math.sqrt(_area(row)) / 2
        taken.append(Bbox.from_extents(x - half, y - half, x + half, y + half))
    for row in drawn[:LABELLED]:
        place: Any = (row["intensity"], _rate(row))
        near: Any = {"xy": place, "xytext": (0, 0), "textcoords": "offset points", "color": plots.INK}
        text = axes.annotate(plots._short(row["layer"]), fontsize=8.5, **near)
        taken.append(plots._place(text, figure, axes, taken))
        line = {"arrowstyle": "-", "color": plots.MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
        axes.annotate("", arrowprops=line, **{**near, "xytext": text.get_position()})


def _is_flat(artist: Any) -> bool:
    """Whether an artist's box is what it covers: a roof that slopes has the box of its whole rise."""
    return not hasattr(artist, "get_ydata") or artist.get_ydata()[0] == artist.get_ydata()[-1]


def _unit(largest: float) -> tuple[int, str]:
    return (2**20, "MiB") if largest >= 2**21 else (2**10, "KiB")


def _ticks(axes: Axes, moments: Sequence[Content]) -> None:
    step = -(-len(moments) // TICKS)
    places = range(0, len(moments), step)
    names = [plots._short(moments[place]["layer"], 22) for place in places]
    axes.set_xticks(places, names, rotation=55, ha="right", rotation_mode="anchor", fontsize=7.5)


def _peak(axes: Axes, top: int, moments: Sequence[Content], height: float, held: float) -> None:
    """Name the peak above its bar, or above what is written at the allocator's line where that is as high."""
    line = 0.075 * axes.get_ylim()[1]
    side = "left" if top < len(moments) / 2 else "right"
    axes.text(
        top - 0.43 if side == "left" else top + 0.43,
        max(height, held) + line if abs(height - held) < line else height * 1.015,
        f"peak {size(moments[top]['live_bytes'])} at {plots._short(moments[top]['layer'])}",
        ha=side,
        va="bottom",
        fontsize=9.5,
        fontweight="bold",
        color=plots.INK,
    )


def _runtime_line(axes: Axes, held: int | None, unit: int) -> None:
    if held is None:
        return
    axes.axhline(held / unit, color=plots.MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.text(
        axes.get_xlim()[1],
        held / unit,
        f"the runtime's allocator: {size(held)}, inputs apart",
        ha="right",
        va="bottom",
        fontsize=8.5,
        color=plots.MUTED,
    )
