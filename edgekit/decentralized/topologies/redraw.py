"""Random graphs, drawn anew until one is connected."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.decentralized.graph import Graph

TRIES = 100


def until_connected(draw: Callable[[int], Graph]) -> Graph | None:
    """The first connected graph of `draw(0)`, `draw(1)`, ...; None where 100 tries give none."""
    for number in range(TRIES):
        graph = draw(number)
        if graph.connected:
            return graph
    return None
