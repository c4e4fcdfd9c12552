"""A picture of a topology: agents on a circle, or clique by clique."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.decentralized.graph import Graph, union
from edgekit.decentralized.roster import Floats, Roster
from edgekit.decentralized.topology import Groups, Topology
from edgekit.errors import BadInput, MissingDependency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PAPER, QUIET = "#20262e", "#ffffff", "#9aa5b1"
AGENTS = (
    "#2f6db3",
    "#e07b39",
    "#3f9c6b",
    "#c8475b",
    "#7d62b5",
    "#8c6d4f",
    "#d873a8",
    "#6b7785",
    "#b5a62b",
    "#2fa5b8",
)
ROUNDS = ("#2f6db3", "#e07b39", "#3f9c6b", "#c8475b", "#7d62b5", "#8c6d4f")
ARROWS, NUMBERED, VECTOR = 400, 40, 20_000  # arcs with heads, agents with numbers, edges drawn as vectors
INCHES = 7.0


def draw(topology: Topology, roster: Roster, seed: int, path: Path) -> None:
    """Write an SVG or PNG; BadInput for another ending, MissingDependency without matplotlib."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise BadInput(f"--plot: '{path}' is neither SVG nor PNG. Name a file that ends in .svg or .png.")
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependency("matplotlib", "host", "--plot") from error
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": topology.name, "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(style):
        figure = _picture(topology, roster, seed)
        metadata: Any = {"Date": None, "Creator": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=160, metadata=metadata)


def topology_svg(topology: Topology, roster: Roster, seed: int) -> str:
    """The picture as inline SVG for a page, in black and white of its own."""
    import io

    import matplotlib

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": topology.name, "font.family": "DejaVu Sans"}
    buffer = io.BytesIO()
    with matplotlib.rc_context(style):
        _picture(topology, roster, seed).savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue().decode()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def _picture(topology: Topology, roster: Roster, seed: int) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    period = topology.period(len(roster))
    graphs = [topology.graph(roster, round, seed) for round in range(1 if period is None else period)]
    whole = union(graphs)
    groups = topology.groups(roster, 0, seed) if period == 1 else None
    figure = Figure(figsize=(INCHES, INCHES + 0.5), facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.03, 0.02, 0.94, 0.88))
    axes.set_axis_off()
    axes.set_aspect("equal")
    places = _places(whole, groups)
    for number, graph in enumerate(graphs):
        _links(axes, graph, places, ROUNDS[number % len(ROUNDS)] if len(graphs) > 1 else QUIET)
    _agents(axes, places, _colours(topology, roster))
    _title(figure, topology, whole, period)
    return figure


def _places(graph: Graph, groups: Groups | None) -> Floats:
    """Of each agent [n, 2]: groups on small circles around a large one, a ring in its order, or by number."""
    places, around = np.zeros((graph.size, 2)), _order(graph)
    if groups and 1 < len(groups) < graph.size:
        radius = min(0.3, 0.7 * math.sin(math.pi / len(groups)))
        for group, centre in zip(groups, _circle(len(groups)), strict=True):
            spread = radius * (len(group) > 1)
            places[list(group)] = centre * (1 - radius / 2) + spread * _circle(len(group))
        return places
    places[around] = _circle(len(around))
    return places


def _order(graph: Graph) -> list[int]:
    """Agents around the circle: along the ring where the graph is one, without the middle of a star, else by number."""
    numbers = list(range(graph.size))
    if graph.size > 3 and graph.edges == graph.size - 1 == graph.degrees.max():
        return [agent for agent in numbers if graph.degrees[agent] == 1]
    if graph.size < 3 or not graph.symmetric or not graph.connected or (graph.degrees != 2).any():
        return numbers
    near = graph.source.reshape(-1, 2).tolist()
    walk = [0, near[0][0]]
    while len(walk) < graph.size:
        one, two = near[walk[-1]]
        walk.append(two if one == walk[-2] else one)
    return walk


def _circle(count: int) -> Floats:
    angles = np.pi / 2 - 2 * np.pi * np.arange(count) / max(count, 1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _links(axes: Axes, graph: Graph, places: Floats, colour: str) -> None:
    from matplotlib.collections import LineCollection

    if not graph.symmetric and graph.arcs <= ARROWS:
        return _arrows(axes, graph, places, colour)
    once = (graph.source < graph.target) | (not graph.symmetric)
    lines = np.stack([places[graph.source[once]], places[graph.target[once]]], axis=1)
    strength = float(np.clip(9 / math.sqrt(max(len(lines), 1)), 0.08, 0.75))
    width = float(np.clip(10 / math.sqrt(max(graph.size, 1)), 0.4, 1.6))
    made = LineCollection(list(lines), colors=colour, linewidths=width, alpha=strength, zorder=1)
    made.set_rasterized(len(lines) > VECTOR)
    axes.add_collection(made)


def _arrows(axes: Axes, graph: Graph, places: Floats, colour: str) -> None:
    from matplotlib.patches import FancyArrowPatch

    away = _dot(graph.size) / 2 + 1
    for source, target in zip(graph.source, graph.target, strict=True):
        axes.add_patch(
            FancyArrowPatch(
                tuple(places[source]),
                tuple(places[target]),
                arrowstyle="-|>",
                mutation_scale=9,
                shrinkA=away,
                shrinkB=away,
                color=colour,
                linewidth=0.9,
                alpha=0.75,
                connectionstyle="arc3,rad=0.08",
                zorder=1,
            )
        )


def _agents(axes: Axes, places: Floats, colours: list[str]) -> None:
    size = _dot(len(places))
    rim = min(1.2, size / 8)
    axes.scatter(*places.T, s=size**2, c=colours, edgecolors=PAPER, linewidths=rim, zorder=2)  # type: ignore[misc]
    axes.set_xlim(-1.2, 1.2)
    axes.set_ylim(-1.2, 1.2)
    if len(places) <= NUMBERED:
        for agent, (x, y) in enumerate(places):
            axes.text(
                x,
                y,
                str(agent),
                color=PAPER,
                fontsize=size * 0.42,
                ha="center",
                va="center_baseline",
                zorder=3,
            )


def _dot(agents: int) -> float:
    """Diameter of an agent, in points."""
    return float(np.clip(90 / math.sqrt(max(agents, 1)), 3.5, 19))


def _colours(topology: Topology, roster: Roster) -> list[str]:
    """By the class that an agent holds most of, where the topology looks at data."""
    facts = [getattr(roster, name) for name in topology.facts if name != "speeds"]
    if not facts or facts[0] is None:
        return [AGENTS[0]] * len(roster)
    return [AGENTS[int(place) % len(AGENTS)] for place in facts[0].argmax(1)]


def _title(figure: Figure, topology: Topology, whole: Graph, period: int | None) -> None:
    span = {1: "", None: " in round 0, drawn anew every round"}.get(
        period, f" in {period} rounds, a colour each"
    )
    joins = f"{whole.edges:,} edges" if whole.symmetric else f"{whole.arcs:,} one-way links"
    figure.text(0.05, 0.955, f"{topology.name}", color=INK, fontsize=15, weight="bold", va="center")
    figure.text(0.05, 0.92, f"{whole.size:,} agents, {joins}{span}", color=INK, fontsize=10.5, va="center")
