"""Fixed shapes: what they join, whom they refuse, how quickly they are built."""

from __future__ import annotations

import time

import networkx
import numpy as np
import pytest

from edgekit.decentralized.facts import stand_in
from edgekit.decentralized.graph import Graph
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.complete import Complete
from edgekit.decentralized.topologies.exponential import Exponential
from edgekit.decentralized.topologies.hierarchical import Hierarchical
from edgekit.decentralized.topologies.hypercube import Hypercube
from edgekit.decentralized.topologies.line import Line
from edgekit.decentralized.topologies.moshpit import Moshpit
from edgekit.decentralized.topologies.ring import Ring
from edgekit.decentralized.topologies.sizes import nearest
from edgekit.decentralized.topologies.star import Star
from edgekit.decentralized.topologies.torus import Torus
from edgekit.errors import BadInput
from edgekit.registry import topologies


def same(graph: Graph, other: networkx.Graph) -> bool:
    ours = networkx.from_edgelist(np.stack([graph.source, graph.target], axis=1).tolist())
    return networkx.utils.graphs_equal(ours, networkx.Graph(other.edges))


@pytest.mark.parametrize(
    ("topology", "other"),
    [
        (Complete(), networkx.complete_graph(9)),
        (Star(), networkx.star_graph(8)),
        (Ring(), networkx.cycle_graph(9)),
        (Line(), networkx.path_graph(9)),
    ],
    ids=["complete", "star", "ring", "line"],
)
def test_the_usual_shapes(topology, other):
    assert same(topology.graph(Roster.of(9), 0, 0), other)


def test_torus_and_hypercube_are_those_of_networkx():
    torus = networkx.convert_node_labels_to_integers(
        networkx.grid_2d_graph(3, 4, periodic=True), ordering="sorted"
    )
    assert same(Torus().graph(Roster.of(12), 0, 0), torus)
    cube = networkx.convert_node_labels_to_integers(networkx.hypercube_graph(4), ordering="sorted")
    assert same(Hypercube().graph(Roster.of(16), 0, 0), cube)


def test_exponential_sends_to_powers_of_two():
    graph = Exponential().graph(Roster.of(10), 0, 0)
    assert sorted(graph.target[graph.source == 3].tolist()) == [1, 4, 5, 7]


def test_a_hierarchy_has_groups_below_and_leaders_above():
    graph = Hierarchical(branch=3).graph(Roster.of(9), 0, 0)
    groups = Hierarchical(branch=3).groups(Roster.of(9), 0, 0)
    assert groups == ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    assert graph.edges == 3 * 3 + 3
    assert graph.degrees.tolist() == [4, 2, 2, 4, 2, 2, 4, 2, 2]


@pytest.mark.parametrize(
    ("topology", "agents", "words"),
    [
        (Hypercube(), 12, "12 agents. Take 8 or 16"),
        (Hypercube(), 3, "Take 2 or 4"),
        (Torus(), 13, "13 agents do not fill a grid of 2 or more rows and columns of a torus. Take 12 or 14"),
        (Torus(rows=3), 10, "do not fill 3 rows of a torus. Take 9 or 12"),
    ],
)
def test_whom_a_shape_cannot_take_hears_who_it_can(topology, agents, words):
    with pytest.raises(BadInput, match=words):
        topology.graph(Roster.of(agents), 0, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Torus(rows=0),
        lambda: Hierarchical(branch=1),
        lambda: Moshpit(dimensions=0),
        lambda: Moshpit(dimensions=31),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(BadInput, match="Give"):
        make()


def test_nearest_numbers():
    assert nearest(1, lambda agents: agents > 1) == "2"
    assert nearest(5, lambda agents: False) == "another number"


@pytest.mark.parametrize("name", sorted(set(topologies._builtin) - {"custom"}))
def test_a_thousand_agents_are_quickly_joined(name):
    roster, topology = stand_in(1024), topologies.get(name)()
    start = time.perf_counter()
    graph = topology.graph(roster, 0, 123)
    assert time.perf_counter() - start < (
        30 if name == "matcha" else 2
    )  # alone 0.2 s, eigenvalues among them
    assert graph.size == 1024
