"""Who gives a joining agent its first model: a pure function of the graph, so that nothing is negotiated."""

from __future__ import annotations

from edgekit.decentralized.graph import Graph


def sponsors(graph: Graph, joined: frozenset[int]) -> dict[int, tuple[int, ...]]:
    """For each position that joins, the positions whose models it averages.

    These are the agents it will hear, less those that join too; where none is left, the first agent that was there
    before. Where all are new there is nobody to ask, and the result is empty.
    """
    there = [position for position in range(graph.size) if position not in joined]
    if not there:
        return {}
    found = {}
    for position in sorted(joined):
        heard = graph.source[graph.target == position].tolist()
        found[position] = tuple(source for source in heard if source not in joined) or (there[0],)
    return found
