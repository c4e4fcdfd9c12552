"""What a topology costs and how quickly it mixes, without a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.decentralized.graph import Graph, union
from edgekit.decentralized.keys import stream
from edgekit.decentralized.mixing import SPECTRUM_LIMIT, Mixing, contraction, rounds_to_consensus
from edgekit.decentralized.roster import Floats, Roster
from edgekit.decentralized.topology import Groups, Topology

ROUNDS = 50  # over which a topology that is drawn anew every round is counted
LONG, SETTLE, VECTORS = 400, 100, 8  # rounds of an empirical rate, those before it, vectors that are mixed
LEFT = 1e-6  # of the distance to the mean, at consensus
NOTHING = 1e-12  # less is rounding
CLASSES = 10


@dataclass(frozen=True)
class Degree:
    """How many agents an agent hears, itself not counted."""

    min: int
    mean: float
    max: int


@dataclass(frozen=True)
class Facts:
    """Counts and rates of a topology for one roster and seed.

    rounds: over how many rounds it was counted, the period, or 50 where every round is drawn anew. edges, degree and
    connected: of the union over a period; where drawn anew, edges and degree are those of a round (mean, extremes),
    connected that of the union. messages_per_round: models over all arcs, and where groups are part of a larger graph
    also an average of gradients within them, the mean over rounds. second_eigenvalue: ||W - J||_2 per round; for a
    period the p-th root of its product's; where drawn anew the rate that 400 rounds showed. rounds_to_consensus: until
    1e-6 of the distance to the mean is left; None where it never is, as under a W that is not doubly stochastic.
    Neither is computed above 4000 agents.
    """

    agents: int
    rounds: int
    period: int | None
    edges: float
    edge_fraction: float
    degree: Degree
    messages_per_round: float
    message_fraction: float
    second_eigenvalue: float | None
    rounds_to_consensus: int | None
    symmetric: bool
    doubly_stochastic: bool
    connected: bool


def facts(topology: Topology, roster: Roster, seed: int = 0, rule: str | None = None) -> Facts:
    """The facts of a topology; BadInput where the agents cannot form it or the rule does not fit."""
    period, size = topology.period(len(roster)), len(roster)
    rounds = range(ROUNDS if period is None else period)
    graphs = [topology.graph(roster, round, seed) for round in rounds]
    mixings = [topology.mixing(roster, round, seed, rule) for round in rounds]
    counted = graphs if period is None else [union(graphs)]
    edges = sum(graph.edges for graph in counted) / len(counted)
    messages = sum(
        messages_of(graph, topology.groups(roster, round, seed))
        for round, graph in zip(rounds, graphs, strict=True)
    ) / len(graphs)
    pairs = max(1, size * (size - 1) // 2)
    doubly = all(mixing.row_stochastic and mixing.column_stochastic for mixing in mixings)
    second, needed = _speed(topology, roster, seed, rule, mixings if period is not None else None)
    return Facts(
        agents=size,
        rounds=len(rounds),
        period=period,
        edges=_whole(edges),
        edge_fraction=edges / pairs,
        degree=_degree(counted),
        messages_per_round=_whole(messages),
        message_fraction=messages / (2 * pairs),
        second_eigenvalue=second,
        rounds_to_consensus=needed if doubly else None,
        symmetric=all(mixing.symmetric for mixing in mixings),
        doubly_stochastic=doubly,
        connected=union(graphs).connected,
    )


def messages_of(graph: Graph, groups: Groups | None) -> int:
    """Messages of a round: a model over each arc; where groups are part of a larger graph, also an average in each.

    To average, every member of a group sends each other one its part, and the mean of its own part back: 2 g (g - 1).
    """
    within = sum(len(group) * (len(group) - 1) for group in groups or ())
    return graph.arcs + (2 * within if within < graph.arcs else 0)


def stand_in(agents: int) -> Roster:
    """A roster for a topology without data: one class an agent (its number modulo 10), and proxies to match."""
    classes = np.eye(CLASSES)[np.arange(agents) % CLASSES]
    return Roster(tuple(range(agents)), histograms=100 * classes, proxies=classes, speeds=np.ones(agents))


def _speed(
    topology: Topology, roster: Roster, seed: int, rule: str | None, mixings: list[Mixing] | None
) -> tuple[float | None, int | None]:
    """(what a round leaves of the distance to the mean, rounds until 1e-6 of it is left)."""
    if len(roster) > SPECTRUM_LIMIT:
        return None, None
    if mixings is None:
        return _empirical(topology, roster, seed, rule)
    factor = contraction(mixings)
    factor = (
        factor if factor > NOTHING else 0.0
    )  # a product that is the exact mean of all leaves rounding only
    return factor ** (1 / len(mixings)), rounds_to_consensus(mixings, left=LEFT)


def _empirical(topology: Topology, roster: Roster, seed: int, rule: str | None) -> tuple[float, int | None]:
    """The rate at which a long product brings random vectors to their mean.

    Vectors are scaled back to norm 1 in every round; the first rounds, in which slow directions come to dominate, are
    left out.
    """
    chance = stream("facts", topology.name, len(roster), seed)
    vectors = _scaled(chance.standard_normal((len(roster), VECTORS)))[0]
    logs = []
    for round in range(LONG):
        mixed = apply(topology.mixing(roster, round, seed, rule), vectors)
        vectors, length = _scaled(mixed)
        if length < NOTHING:
            return 0.0, round + 1
        logs.append(math.log(length))
    rate = math.exp(sum(logs[SETTLE:]) / (LONG - SETTLE))
    return rate, math.ceil(math.log(LEFT) / math.log(rate)) if rate < 1 - 1e-9 else None


def apply(mixing: Mixing, rows: Floats) -> Floats:
    """W rows, [n, k] -> [n, k]."""
    found: Floats = np.add.reduceat(mixing.weights[:, None] * rows[mixing.sources], mixing.start[:-1])
    return found


def _scaled(vectors: Floats) -> tuple[Floats, float]:
    """(vectors without their mean, scaled to norm 1 in all; their norm before)."""
    centred = vectors - vectors.mean(0)
    length = float(np.linalg.norm(centred))
    return centred / max(length, np.finfo(float).tiny), length


def _degree(graphs: Sequence[Graph]) -> Degree:
    degrees = np.concatenate([graph.degrees for graph in graphs])
    return Degree(int(degrees.min()), float(degrees.mean()), int(degrees.max()))


def _whole(value: float) -> float:
    """A count as a whole number where it is one."""
    return int(value) if value == int(value) else value
