"""The kit of topologies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from edgekit.decentralized.facts import stand_in
from edgekit.decentralized.graph import Graph, union
from edgekit.decentralized.mixing import Mixing
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topology import Topology
from edgekit.errors import BadInput
from edgekit.testing.row import Row, fail, named, need, run_checks

AGENTS = (*range(1, 13), 16, 25, 64)
SEED = 5
ROUNDS = 12  # looked at where every round is drawn anew
AGAIN = (1, 2, 5)  # periods after which the same graphs must have come again
PATIENCE = 400  # rounds in which those must join all agents
TINY = 1e-12
PROMISES = ("metropolis", "max-degree")  # rules whose matrices are symmetric and doubly stochastic


def check_topology(topology: Topology, agents: Sequence[int] = AGENTS) -> list[Row]:
    """A topology: pure, connected, with the period, weights, direction and groups it declares, clear in refusals.

    It is tried on each number of `agents`, with one class and one proxy an agent as facts.
    """
    seen = _Seen(topology, agents)
    return run_checks(
        [
            ("is a frozen dataclass", lambda: _frozen(topology)),
            ("has a name and a docstring", lambda: named(type(topology), topology.name)),
            ("refuses numbers of agents in one line, or takes them", lambda: _refuses(seen)),
            ("says which facts of the roster it needs", lambda: _facts(seen)),
            ("is a function of roster, round and seed alone", lambda: _pure(seen)),
            ("its graphs join the agents of the roster", lambda: _fits(seen)),
            ("joins all agents over a period", lambda: _connected(seen)),
            ("its weights lie on its graph and sum to 1", lambda: _weights(seen)),
            ("its weights keep what their rule promises", lambda: _promise(seen)),
            ("is directed, or not, as it declares", lambda: _directed(seen)),
            ("keeps its period", lambda: _period(seen)),
            ("its groups are disjoint and within the roster", lambda: _groups(seen)),
        ]
    )


class _Seen:
    """A topology and the rosters it takes."""

    def __init__(self, topology: Topology, agents: Sequence[int]) -> None:
        self.topology, self.agents = topology, tuple(agents)

    def roster(self, agents: int) -> Roster:
        """So many agents, with the facts that the topology declares and no others."""
        whole = stand_in(agents)
        return Roster(whole.ids, **{name: getattr(whole, name) for name in self.topology.facts})

    @cached_property
    def rosters(self) -> list[Roster]:
        """Those that it takes."""
        taken = [
            roster for roster in map(self.roster, self.agents) if _refusal(self.topology, roster) is None
        ]
        need(bool(taken), f"it takes none of {_words(self.agents)} agents. Name some it takes: agents=(...)")
        return taken

    def rounds(self, roster: Roster) -> range:
        """The rounds of a period, or some where there is none."""
        period = self.topology.period(len(roster))
        return range(ROUNDS if period is None else period)

    def graphs(self) -> Iterator[tuple[Roster, int, Graph]]:
        """(roster, round, graph) of all."""
        for roster in self.rosters:
            for round in self.rounds(roster):
                yield roster, round, self.topology.graph(roster, round, SEED)


def _frozen(topology: Any) -> str:
    parameters = getattr(type(topology), "__dataclass_params__", None)
    need(parameters is not None and parameters.frozen, "decorate the class with @dataclass(frozen=True)")
    hash(topology)  # a list as a field would raise: what is kept is found by it
    return type(topology).__name__


def _refuses(seen: _Seen) -> str:
    refused, reasons = [], []
    for agents in seen.agents:
        reason = _refusal(seen.topology, seen.roster(agents))
        if isinstance(reason, BadInput):
            refused.append(agents)
            need(len(str(reason)) > 20, f"the refusal of {agents} agents says only '{reason}'")
        elif reason is not None:
            reasons.append(f"{agents} agents raise {type(reason).__name__}: {reason}")
    need(not reasons, f"{reasons[0] if reasons else ''}; raise BadInput with what to take instead")
    return f"refuses {_words(refused)}, takes {_words(len(roster) for roster in seen.rosters)}"


def _refusal(topology: Topology, roster: Roster) -> Exception | None:
    try:
        topology.graph(roster, 0, SEED)
        topology.mixing(roster, 0, SEED)
        topology.groups(roster, 0, SEED)
    except Exception as error:
        return error
    return None


def _facts(seen: _Seen) -> str:
    for roster in seen.rosters:
        reason = _refusal(seen.topology, Roster(roster.ids))
        need(
            reason is None or isinstance(reason, BadInput),
            f"without facts {len(roster)} agents raise {type(reason).__name__}: {reason}; raise BadInput",
        )
    return ", ".join(seen.topology.facts) or "none"


def _pure(seen: _Seen) -> str:
    topology, roster = seen.topology, seen.rosters[-1]
    rounds = [0, 1, 2, 7]
    again = replace(topology)  # type: ignore[type-var]
    first = [_everything(topology, roster, round) for round in rounds]
    second = [_everything(again, replace(roster), round) for round in reversed(rounds)][::-1]
    for round, one, two in zip(rounds, first, second, strict=True):
        need(
            one == two, f"round {round} differs when asked again; take randomness from keys.stream(seed, ...)"
        )
    return f"{len(roster)} agents, rounds asked in two orders"


def _everything(topology: Topology, roster: Roster, round: int) -> tuple[Any, ...]:
    graph, mixing = topology.graph(roster, round, SEED), topology.mixing(roster, round, SEED)
    arrays = (graph.source, graph.target, mixing.sources, mixing.weights)
    return *(array.tolist() for array in arrays), topology.groups(roster, round, SEED)


def _fits(seen: _Seen) -> str:
    count = 0
    for roster, round, graph in seen.graphs():
        place, count = f"{len(roster)} agents, round {round}: ", count + 1
        need(graph.size == len(roster), f"{place}the graph has {graph.size}")
        ends = np.concatenate([graph.source, graph.target])
        need(bool(((ends >= 0) & (ends < graph.size)).all()), f"{place}an arc leads outside of 0 .. n - 1")
        need(not (graph.source == graph.target).any(), f"{place}an agent is joined with itself")
        codes = graph.target * graph.size + graph.source
        need(bool((np.diff(codes) > 0).all()), f"{place}arcs repeat, or are not sorted by (target, source)")
    return f"{count} graphs"


def _connected(seen: _Seen) -> str:
    most = 0
    for roster in seen.rosters:
        period = seen.topology.period(len(roster))
        rounds = PATIENCE if period is None else period
        needed = _joined_after(seen.topology, roster, rounds)
        need(needed is not None, f"{len(roster)} agents fall into parts over {rounds} rounds")
        most = max(most, needed or 0)
    return f"within {most} round{'s' * (most > 1)}"


def _joined_after(topology: Topology, roster: Roster, rounds: int) -> int | None:
    whole = topology.graph(roster, 0, SEED)
    for round in range(rounds):
        whole = union([whole, topology.graph(roster, round, SEED)])
        if whole.connected:
            return round + 1
    return None


def _weights(seen: _Seen) -> str:
    count = 0
    for roster, round, graph in seen.graphs():
        place, count = f"{len(roster)} agents, round {round}: ", count + 1
        mixing = seen.topology.mixing(roster, round, SEED)
        need(
            bool((mixing.weights >= -TINY).all()), f"{place}a weight is negative ({mixing.weights.min():.3g})"
        )
        need(_within(mixing, graph), f"{place}a weight lies on what is no arc of the graph")
        column = seen.topology.rule == "column-stochastic"
        sums = mixing.column_sums if column else mixing.row_sums
        need(
            bool(np.allclose(sums, 1, atol=1e-9)),
            f"{place}a {'column' if column else 'row'} sums to {sums[np.argmax(np.abs(sums - 1))]:.6g}, not 1",
        )
        pushed = seen.topology.mixing(roster, round, SEED, "column-stochastic")
        need(pushed.column_stochastic, f"{place}by the rule column-stochastic a column does not sum to 1")
    return f"{count} matrices"


def _within(mixing: Mixing, graph: Graph) -> bool:
    codes = mixing.graph.target * mixing.size + mixing.graph.source
    return bool(np.isin(codes, graph.target * graph.size + graph.source).all())


def _promise(seen: _Seen) -> str:
    rule = seen.topology.rule
    if rule not in PROMISES:
        return f"{rule} promises no more than sums"
    for roster, round, _ in seen.graphs():
        mixing, place = seen.topology.mixing(roster, round, SEED), f"{len(roster)} agents, round {round}: "
        need(mixing.symmetric, f"{place}W is not symmetric")
        need(mixing.column_stochastic, f"{place}a column does not sum to 1")
    return f"{rule}: symmetric and doubly stochastic"


def _directed(seen: _Seen) -> str:
    ways = [graph.symmetric for _, _, graph in seen.graphs()]
    if not seen.topology.directed:
        return "undirected" if all(ways) else fail("a link works one way only; declare directed = True")
    large = len(seen.rosters[-1]) > 4  # few agents are soon joined both ways
    need(not (all(ways) and large), "all links work both ways; declare directed = False")
    return "directed"


def _period(seen: _Seen) -> str:
    for roster in seen.rosters:
        period = seen.topology.period(len(roster))
        if period is None:
            continue
        need(period >= 1, f"the period of {len(roster)} agents is {period}; give 1 or more, or None")
        for round in range(period):
            now = _everything(seen.topology, roster, round)
            for later in (round + times * period for times in AGAIN):
                same = _everything(seen.topology, roster, later) == now
                need(same, f"{len(roster)} agents: round {round} differs from round {later}")
    last = seen.rosters[-1]
    period = seen.topology.period(len(last))
    if period is None and len(last) > 4:
        drawn = [_everything(seen.topology, last, round)[:2] for round in range(ROUNDS)]
        need(any(one != drawn[0] for one in drawn), "period is None, but no round differs; declare 1")
    return "drawn anew every round" if period is None else f"{period} at {len(last)} agents"


def _groups(seen: _Seen) -> str:
    sizes = []
    for roster, round, _ in seen.graphs():
        groups = seen.topology.groups(roster, round, SEED)
        if groups is None:
            return "has none"
        members, place = (
            [member for group in groups for member in group],
            f"{len(roster)} agents, round {round}: ",
        )
        need(len(set(members)) == len(members), f"{place}an agent is in two groups")
        need(all(0 <= member < len(roster) for member in members), f"{place}a member is not in the roster")
        sizes += [len(group) for group in groups]
    return f"of {min(sizes)} to {max(sizes)} agents"


def _words(agents: Any) -> str:
    return ", ".join(map(str, agents)) or "none"
