"""Every built-in topology passes the kit, in several settings; broken ones do not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.topologies.clumping import Clumping
from edgekit.decentralized.topologies.custom import Custom
from edgekit.decentralized.topologies.d_cliques import DCliques
from edgekit.decentralized.topologies.erdos_renyi import ErdosRenyi
from edgekit.decentralized.topologies.hierarchical import Hierarchical
from edgekit.decentralized.topologies.hypercube import Hypercube
from edgekit.decentralized.topologies.matcha import Matcha
from edgekit.decentralized.topologies.moshpit import Moshpit
from edgekit.decentralized.topologies.random_regular import RandomRegular
from edgekit.decentralized.topologies.ring import Ring
from edgekit.decentralized.topologies.small_world import SmallWorld
from edgekit.decentralized.topologies.torus import Torus
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput
from edgekit.registry import topologies
from edgekit.testing import check_topology

W = ((0.5, 0.5, 0.0), (0.0, 0.5, 0.5), (0.25, 0.0, 0.75))
ARGUMENTS = {"custom": {"matrix": W}}
VARIANTS = [
    Ring(both_ways=False),
    Torus(rows=2),
    RandomRegular(degree=3),
    RandomRegular(degree=1),
    ErdosRenyi(probability=1.0),
    SmallWorld(degree=2, rewire=1.0),
    Moshpit(dimensions=1),
    Moshpit(dimensions=3),
    Hierarchical(branch=2),
    DCliques(size=3, between="ring"),
    DCliques(size=2, between="fractal"),
    DCliques(size=1, between="small-world", swaps=0),
    Clumping(clumps=3, arrange="homogeneous"),
    Clumping(arrange="random"),
    Matcha(base=Ring(), budget=0.2),
    Matcha(base=DCliques(size=4), budget=1.0),
    Custom(matrix=tuple(zip(*W, strict=True))),
]


def failed(topology, **options) -> dict[str, str]:
    return {row.check: row.detail for row in check_topology(topology, **options) if not row.ok}


@pytest.mark.parametrize("name", topologies._builtin)
def test_a_built_in_topology_holds(name):
    start = time.perf_counter()
    assert failed(topologies.get(name)(**ARGUMENTS.get(name, {}))) == {}
    assert time.perf_counter() - start < 10  # about 1 s alone


@pytest.mark.parametrize("topology", VARIANTS, ids=repr)
def test_its_settings_hold_too(topology):
    assert failed(topology) == {}


def test_edges_of_one_s_own_hold_for_the_agents_they_join():
    assert failed(Custom(edges=((0, 1), (1, 2))), agents=(1, 2, 3)) == {}
    assert "joins all agents over a period" in failed(Custom(edges=((0, 1), (1, 2))), agents=(3, 4))


def test_every_built_in_name_is_its_own():
    assert {name: topologies.get(name).name for name in topologies._builtin} == {
        name: name for name in topologies._builtin
    }


# what is broken is found


@dataclass(frozen=True)
class Sound(Topology):
    """A ring, as the guide has it."""

    name: ClassVar[str] = "sound"

    def graph(self, roster, round, seed):
        size = len(roster)
        return Graph.undirected(size, [(agent, (agent + 1) % size) for agent in range(size)])


def test_a_sound_one_of_ones_own_holds():
    assert failed(Sound()) == {}


@dataclass
class Loose(Topology):
    """Not frozen."""

    notes: list = field(default_factory=list)
    name: ClassVar[str] = "loose"

    def graph(self, roster, round, seed):
        return Sound().graph(roster, round, seed)


@dataclass(frozen=True)
class Moody(Sound):
    """Draws from numpy's global state."""

    def graph(self, roster, round, seed):
        order = np.random.permutation(len(roster))
        return Graph.undirected(len(roster), np.stack([order, np.roll(order, 1)], axis=1))


@dataclass(frozen=True)
class Counting(Sound):
    """Changes from round to round, but declares that it stays."""

    def graph(self, roster, round, seed):
        step = 1 + round % 3
        size = len(roster)
        return Graph.undirected(size, [(agent, (agent + step) % size) for agent in range(size)])


@dataclass(frozen=True)
class Parted(Sound):
    """Two halves that never speak; declares that rounds differ."""

    def graph(self, roster, round, seed):
        size = len(roster)
        return Graph.undirected(size, [(agent, agent + 2) for agent in range(size - 2)])

    def period(self, agents):
        return None


@dataclass(frozen=True)
class OneWay(Sound):
    """Directed, but declared undirected, with weights that do not sum to 1 and groups that overlap."""

    def graph(self, roster, round, seed):
        return Graph.directed(
            len(roster), [(agent, (agent + 1) % len(roster)) for agent in range(len(roster))]
        )

    def mixing(self, roster, round, seed, rule=None):
        graph = self.graph(roster, round, seed)
        return Mixing.on(graph, np.full(graph.arcs, -0.5), np.full(graph.size, 0.5))

    def groups(self, roster, round, seed):
        return (0, 1), (1, len(roster))


@dataclass(frozen=True)
class Crashing(Sound):
    """Divides by zero for odd numbers of agents."""

    def graph(self, roster, round, seed):
        1 // ((len(roster) + 1) % 2)
        return super().graph(roster, round, seed)


@dataclass(frozen=True)
class Wild(Sound):
    """Leads out of the roster, twice."""

    def graph(self, roster, round, seed):
        ends = np.array([0, 0, len(roster)])
        return Graph(len(roster), ends, np.zeros(3, np.int64))


@dataclass(frozen=True)
class Never(Sound):
    """Takes nobody."""

    def graph(self, roster, round, seed):
        raise BadInput("no")


@pytest.mark.parametrize(
    ("topology", "checks", "words"),
    [
        (Loose(), {"is a frozen dataclass"}, "frozen=True"),
        (Moody(), {"is a function of roster, round and seed alone", "keeps its period"}, "keys.stream"),
        (Counting(), {"keeps its period"}, "differs from round"),
        (Parted(), {"joins all agents over a period", "keeps its period"}, "declare 1"),
        (
            OneWay(),
            {
                "its weights lie on its graph and sum to 1",
                "its weights keep what their rule promises",
                "is directed, or not, as it declares",
                "its groups are disjoint and within the roster",
            },
            "directed = True",
        ),
        (Crashing(), {"refuses numbers of agents in one line, or takes them"}, "ZeroDivisionError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_one_is_found(topology, checks, words):
    found = failed(topology)
    assert checks <= set(found)
    assert len(found) <= len(checks) + 1
    assert any(words in detail for detail in found.values())


def test_arcs_that_lead_nowhere_are_found():
    assert "its graphs join the agents of the roster" in failed(Wild())


def test_one_that_takes_nobody_is_told_so():
    found = failed(Never())
    assert "it takes none of 1, 2" in found["keeps its period"]
    assert "says only 'no'" in found["refuses numbers of agents in one line, or takes them"]


def test_the_numbers_of_agents_can_be_named():
    rows = {row.check: row.detail for row in check_topology(Hypercube(), agents=(5, 32))}
    assert rows["refuses numbers of agents in one line, or takes them"] == "refuses 5, takes 32"
