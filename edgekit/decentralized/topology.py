"""The contract of a topology, and the guide for whoever writes one.

A topology is a frozen dataclass in a file of its own; its fields are what a run file says: `SmallWorld(degree=4)` is
`topology: {small-world: {degree: 4}}`. It is a pure function of (roster, round, seed): every agent computes the same
graph for itself, so nothing is negotiated. Take randomness from `keys.stream(seed, name, ...)` only.

- `graph` says who sends to whom in a round, in positions 0 .. n - 1 of the roster.
- `rule` names the mixing weights that fit it; a run file may name another.
- `period` is how many rounds there are before the same graphs come again: 1 for a graph that stays, None where every
  round is drawn anew.
- `groups` are the agents that average exactly among themselves in a round (cliques, grid lines), where there are such.
- Raise BadInput where the number of agents cannot form it, or where a fact that it needs is missing.
"""

from __future__ import annotations

from typing import ClassVar

from edgekit.decentralized.graph import Graph
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.mixing import rule as rule_named
from edgekit.decentralized.roster import Roster

Groups = tuple[tuple[int, ...], ...]


class Topology:
    """Base of all topologies."""

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""  # author, year
    rule: ClassVar[str] = "metropolis"
    directed: ClassVar[bool] = False
    facts: ClassVar[tuple[str, ...]] = ()  # fields of the roster that it needs

    def graph(self, roster: Roster, round: int, seed: int) -> Graph:
        """Who sends to whom in a round."""
        raise NotImplementedError

    def mixing(self, roster: Roster, round: int, seed: int, rule: str | None = None) -> Mixing:
        """The mixing matrix of a round, by the named rule or the topology's own."""
        return rule_named(rule or self.rule)(self.graph(roster, round, seed))

    def period(self, agents: int) -> int | None:
        """Rounds until the same graphs come again; None where they never do."""
        return 1

    def groups(self, roster: Roster, round: int, seed: int) -> Groups | None:
        """The groups that average among themselves in a round; None where the topology has none."""
        return None
