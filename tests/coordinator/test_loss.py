"""Frames that are lost one way: what comes late after all makes the sum over agents what it would have been."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import torch

from edgekit.coordinator.patience import Deadlines
from edgekit.decentralized.algorithms.choco import Choco
from edgekit.decentralized.algorithms.d_psgd import DPSGD
from edgekit.decentralized.algorithms.gradient_tracking import GradientTracking
from edgekit.decentralized.algorithms.sgp import SGP
from edgekit.decentralized.peer import KEPT
from edgekit.decentralized.roster import Roster
from edgekit.decentralized.topologies.ring import Ring
from edgekit.testing.decentralized_sample import AGENTS, still
from edgekit.wire.faults import Faults, FaultyTransport
from edgekit.wire.frame import Head, Kind, pack, run_hash, unpack
from edgekit.wire.memory import MemoryHub, MemoryTransport
from edgekit.wire.transport import Message, Transport
from tests.coordinator.crew import KEY, PATIENT, Crew, crew, solos
from tests.coordinator.samples import settings
from tests.decentralized.problems import least_squares, random

SIZE = 12
SHORT = Deadlines(k=0.0, least=0.02, most=0.03, quorum=0.0)
ALL = Roster.of(AGENTS)
pytestmark = pytest.mark.usefixtures("one_thread")


class Deaf(FaultyTransport):
    """A transport that does not hear frames for which `lost(head)` holds, and does them no other harm."""

    def __init__(self, inner: Transport, lost: Callable[[Head], bool]) -> None:
        super().__init__(inner, Faults(), seed=0)
        self.lost = lost

    def receive(self, timeout: float) -> Message | None:
        message = self.inner.receive(timeout)
        if message is not None and message.what == "frame" and self.lost(unpack(message.payload, KEY).head):
            return None
        return message


def entered(algorithm, models, *, codec="raw", objective=None, wrap=lambda end: end, deadlines=SHORT) -> Crew:
    hub = MemoryHub()
    problem = objective or still(size=SIZE)
    made = crew(
        solos(algorithm, Ring(), lambda: problem, models, settings(codec), ALL),
        lambda me: wrap(MemoryTransport(hub, me)),
        deadlines=PATIENT,
    )
    made.enter(1, ALL, exchange=algorithm.public)
    for engine in made.engines.values():
        engine.patience.deadlines = deadlines
    return made


def settle(made: Crew) -> None:
    """Rounds in which everything comes, until no one owes anything.

    They are slow: what was asked for is not sent again before it can have come.
    """
    for engine in made.engines.values():
        engine.patience.deadlines = PATIENT
    for _ in range(40):
        made.rounds(1)
        made.together(lambda engine: [engine.listen(0.02) for _ in range(5)])
        peers = [engine.solo.peer for engine in made.engines.values()]
        if not any(peer.missed or any(peer.owed.values()) for peer in peers):
            return
    raise AssertionError("something is still owed")


def faulty(end: Transport) -> FaultyTransport:
    return FaultyTransport(end, Faults(), int(end.me[-1]))


def spells(made: Crew, count: int = 2) -> int:
    """Some rounds with losses, then some without, so that nothing is given up; how many messages were missed."""
    missed = 0
    for _ in range(count):
        faults(made, Faults(drop=0.3, duplicate=0.1, reorder=0.1))
        for engine in made.engines.values():
            engine.patience.deadlines = SHORT
        missed += sum(len(report.missed) for reports in made.rounds(5) for report in reports)
        faults(made, Faults())
        settle(made)
    return missed


def faults(made: Crew, what: Faults) -> None:
    for engine in made.engines.values():
        transport: Any = engine.mail.transport
        transport.faults = what


@pytest.mark.parametrize("codec", ["raw", "natural"])
@pytest.mark.parametrize("algorithm", [DPSGD(), Choco(gamma=0.4)], ids=["d-psgd", "choco"])
def test_the_mean_over_agents_is_what_it_would_have_been(algorithm, codec):
    models = random(AGENTS, SIZE)
    made = entered(algorithm, models, codec=codec, wrap=faulty)
    with closing(made):
        assert spells(made) > 20
        settle(made)
        assert sum(report.late for reports in made.rounds(1) for report in reports) == 0
        assert (made.models.mean(0) - models.mean(0)).abs().max() < 1e-12
        assert (made.models - models.mean(0)).norm() < 0.7 * (models - models.mean(0)).norm()


def test_push_sum_finds_its_mass_again():
    models = random(AGENTS, SIZE)
    made = entered(SGP(), models, wrap=faulty)
    with closing(made):
        assert spells(made) > 20
        settle(made)
        made.rounds(80)
        mass = sum(float(engine.solo.state["w"]) for engine in made.engines.values())
        assert abs(mass - AGENTS) < 1e-12
        assert (made.models - models.mean(0)).abs().max() < 1e-4


def test_public_copies_are_their_owners_models_again():
    made = entered(Choco(gamma=0.4), random(AGENTS, SIZE), codec="natural", wrap=faulty)
    with closing(made):
        spells(made)
        settle(made)
        peers = [engine.solo.peer for engine in made.engines.values()]
        for peer in peers:
            for position, copy in peer.public["model"].items():
                assert (copy - peers[position].public["model"][position]).abs().max() < 1e-12


def test_a_link_that_loses_one_way_only_moves_nothing():
    """Agent 4 hears nothing of 3 in rounds 2 to 5, while 3 hears 4 as ever."""
    models, broken = random(AGENTS, SIZE), [True]

    def lost(me: str) -> Callable[[Head], bool]:
        return lambda head: broken[0] and me == "agent-4" and head.sender == 3 and 2 <= head.round <= 5

    made = entered(DPSGD(), models, wrap=lambda end: Deaf(end, lost(end.me)), deadlines=PATIENT)
    made.engines[4].patience.deadlines = Deadlines(least=1.0, most=1.0)
    with closing(made):
        reports = made.rounds(6)
        assert [report.missed for report in reports[4]] == [[], [], *[["agent-3"]] * 4]
        assert not any(report.missed for agent in (3, 5) for report in reports[agent])
        assert set(made.engines[4].solo.peer.missed) == {(number, 0, 3) for number in range(2, 6)}
        assert (made.models.mean(0) - models.mean(0)).abs().max() > 1e-3
        broken[0] = False
        settle(made)
        assert (made.models.mean(0) - models.mean(0)).abs().max() < 1e-12


def test_the_tracker_still_finds_the_optimum():
    problem = least_squares(size=5)
    made = entered(GradientTracking(), random(AGENTS, 5), objective=problem, wrap=faulty)
    with closing(made):
        spells(made)
        settle(made)
        made.rounds(300)
        assert (made.models - problem.optimum).abs().max() < 1e-6


def test_what_is_repeated_or_swapped_changes_no_bit():
    models = random(AGENTS, SIZE)
    still_one, other = (
        entered(DPSGD(), models, wrap=wrap, deadlines=PATIENT)
        for wrap in (
            lambda end: end,
            lambda end: FaultyTransport(
                end, Faults(duplicate=0.4, reorder=0.4, corrupt=0.1, delay=0.002), int(end.me[-1])
            ),
        )
    )
    with closing(still_one), closing(other):
        still_one.rounds(6)
        other.rounds(6)
        assert torch.equal(still_one.models, other.models)
        dropped = [engine.mail.dropped() for engine in other.engines.values()]
        assert sum(sum(counts.values()) for counts in dropped) > 0


def test_a_forged_or_foreign_frame_is_counted_and_dropped():
    """Frames of another model, another run, another sender, another key and none."""
    hub = MemoryHub()
    problem, models = still(size=SIZE), random(AGENTS, SIZE)
    made = crew(
        solos(DPSGD(), Ring(), lambda: problem, models, settings(), ALL),
        lambda me: MemoryTransport(hub, me),
        schema=7,
    )
    made.enter(1, ALL)
    engine = made.engines[0]
    stranger, neighbour = MemoryTransport(hub, "stranger"), made.engines[1].mail.transport
    stranger.open(b"lost")
    good = Head(Kind.DATA, 0, run_hash("crew"), 1, 0, 0, 0, 1, 7)
    forged = [
        (neighbour, pack(good._replace(schema=8, round=9), b"1", largest=4096, key=KEY)),
        (neighbour, pack(good._replace(run=1), b"1", largest=4096, key=KEY)),
        (neighbour, pack(good._replace(sender=7), b"1", largest=4096, key=KEY)),
        (stranger, pack(good, b"1", largest=4096, key=KEY)),
        (neighbour, pack(good, b"1", largest=4096, key=b"x" * 32)),
        (neighbour, pack(good, b"1", largest=4096, key=None)),
        (neighbour, pack(good._replace(epoch=0), b"1", largest=4096, key=KEY)),
        (neighbour, pack(good._replace(kind=Kind.WANT), b"1", largest=4096, key=KEY)),
    ]
    with closing(made), closing(stranger):
        for end, frames in forged:
            for frame in frames:
                end.send(frame, "agent-0")
        for _ in range(20):
            engine.listen(0.01)
        assert engine.mail.dropped() == {
            "another model": 1,
            "another run": 1,
            "forged or unknown sender": 2,
            "wrong tag": 1,
            "has no tag, but this run has a key": 1,
            "an older epoch": 1,
            "malformed": 1,
        }
        made.rounds(3)
        whole = crew(solos(DPSGD(), Ring(), lambda: problem, models, settings(), ALL))
        with closing(whole):
            whole.enter(1, ALL)
            whole.rounds(3)
            assert torch.equal(whole.models, made.models)


def test_an_agent_that_is_far_behind_says_so():
    """Its neighbours are more than `KEPT` rounds ahead of it: it must be taken in anew."""
    made = entered(DPSGD(), random(AGENTS, SIZE))
    with closing(made):
        made.rounds(4 * KEPT, [agent for agent in range(AGENTS) if agent != 2])
        made.rounds(2 * KEPT, [2])
        assert made.engines[2].behind
        assert made.engines[2].mail.dropped()["too far ahead"] > 0


def test_who_joins_and_gets_no_model_waits_to_be_taken_in_again():
    """Its own model is not of this run: averaged with the others it would undo what they have learned."""
    made = entered(DPSGD(), random(AGENTS, SIZE), deadlines=Deadlines(least=0.2, most=0.2))
    with closing(made):
        made.rounds(2)
        engine, ids = made.engines[2], made.engines[2].ids
        engine.enter(2, ALL, ids, dict(zip(ALL.ids, ids, strict=True)), joined=[2])
        assert engine.behind == "no neighbour sent it a model to start from"
        made.enter(3, ALL, joined=[2])
        assert not engine.behind


def test_who_is_gone_is_not_waited_for():
    gone = {"agent-3"}
    hub, models = MemoryHub(), random(AGENTS, SIZE)
    made = crew(
        solos(DPSGD(), Ring(), lambda: still(size=SIZE), models, settings(), ALL),
        lambda me: MemoryTransport(hub, me),
        gone=gone.__contains__,
    )
    with closing(made):
        made.enter(1, ALL)
        reports = made.rounds(3, [agent for agent in range(AGENTS) if agent != 3])
        assert max(report.seconds for one in reports for report in one) < 10  # PATIENT would be 60
        assert [report.missed for report in reports[2]] == [["agent-3"]] * 3


def test_what_is_overtaken_ends_its_wait():
    made = entered(DPSGD(), random(AGENTS, SIZE), deadlines=PATIENT)
    with closing(made):
        made.engines[0].overtaken = lambda: True
        (reports,) = made.rounds(1, [0])
        assert reports[0].seconds < 10
        assert sorted(reports[0].missed) == ["agent-1", "agent-7"]


def test_while_the_link_is_down_no_time_passes():
    """Deadlines of 0.3 s, and a link that is down for 1 s: nothing is missed."""
    hub, models = MemoryHub(), random(AGENTS, SIZE)
    made = crew(
        solos(DPSGD(), Ring(), lambda: still(size=SIZE), models, settings(), ALL),
        lambda me: MemoryTransport(hub, me),
        deadlines=PATIENT,
    )
    with closing(made):
        made.enter(1, ALL)
        made.rounds(2)
        for engine in made.engines.values():
            engine.patience.deadlines = Deadlines(k=0.0, least=0.3, most=0.3)
        hub.stop()
        timer = threading.Timer(1.0, hub.start)
        timer.start()
        reports = made.rounds(2)
        timer.join()
        assert not any(report.missed for one in reports for report in one)
        assert (made.models.mean(0) - models.mean(0)).abs().max() < 1e-12
