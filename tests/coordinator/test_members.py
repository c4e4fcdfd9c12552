"""What documents say: the first spec and the highest epoch hold, and what is not what it claims is dropped."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.coordinator.documents import LINES, ROSTER, SPEC, STOP, Member, RosterDocument, Spec, State
from edgekit.coordinator.members import Members
from edgekit.coordinator.writer import Writer
from edgekit.wire.document import Trust, seal
from edgekit.wire.identity import Identity
from edgekit.wire.memory import MemoryHub, MemoryTransport
from edgekit.wire.transport import STATE, Message
from tests.coordinator.papers import FEW, JSON

RUN = "demo"
ONE, TWO = Identity.make("cam-1"), Identity.make("cam-2")
THE_SPEC = Spec("demo", {}, 0, 4, 2, 60.0, schema=7)
THE_ROSTER = RosterDocument(8192, 0, (Member(0, "cam-1", 1), Member(1, "cam-2", 1)))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def members(said) -> Members:
    return Members(Trust(RUN), said.append)


def message(who: Identity, name: str, body: dict, number: int = 1, *, run: str = RUN) -> Message:
    return Message("document", who.id, name, seal(who, run, name, body, number))


def test_documents_are_taken_in(members, said):
    members.hear(message(ONE, SPEC, THE_SPEC.body()))
    members.hear(message(TWO, ROSTER, THE_ROSTER.body()))
    members.hear(message(TWO, STATE, State("training", 5, number=1).body()))
    members.hear(message(TWO, LINES, {"lines": [{"round": 4}]}))
    members.hear(message(ONE, STOP, {"reason": "enough"}))
    assert (members.spec, members.starter) == (THE_SPEC, "cam-1")
    assert members.roster == THE_ROSTER
    assert members.states == {"cam-2": State("training", 5, number=1)}
    assert members.lines == {"cam-2": [{"round": 4}]}
    assert members.stop == "enough"
    assert members.changes == 4  # lines are none
    assert said == []


def test_frames_lines_and_links_are_none_of_its_business(members):
    for what in ("frame", "line", "link"):
        members.hear(Message(what, "cam-1", SPEC, b"anything"))
    assert members.changes == 0
    assert not members.refused


def test_the_first_spec_holds(members, said):
    members.hear(message(ONE, SPEC, THE_SPEC.body()))
    members.hear(message(TWO, SPEC, THE_SPEC.body()))
    assert members.starter == "cam-1"
    members.hear(message(TWO, SPEC, replace(THE_SPEC, seed=1).body(), 2))
    assert members.spec == THE_SPEC
    assert said == ["'cam-2' gives another run document than 'cam-1' did; the first one holds."]


def test_the_highest_epoch_holds_whenever_it_comes(members):
    newer = replace(THE_ROSTER, epoch=16385, from_round=9)
    members.hear(message(ONE, ROSTER, newer.body()))
    members.hear(message(TWO, ROSTER, THE_ROSTER.body()))
    assert members.roster == newer
    members.hear(message(TWO, ROSTER, replace(newer, from_round=5).body(), 2))
    assert members.roster == newer


def test_who_is_gone(members):
    assert members.is_gone("cam-2")  # it never was there
    for number, (status, is_gone) in enumerate(
        {"ready": False, "training": False, "lost": True, "done": False, "left": True, "failed": True}.items()
    ):
        members.hear(message(TWO, STATE, State(status, 5).body(), number + 1))
        assert members.is_gone("cam-2") == is_gone


def test_what_is_withdrawn_says_nothing(members):
    members.hear(message(TWO, STATE, State("done", 5).body()))
    members.hear(Message("document", "cam-2", STATE, b""))
    members.hear(Message("document", "cam-1", SPEC, b""))
    assert members.states["cam-2"].status == "done"
    assert not members.refused


@pytest.mark.parametrize(
    "bad",
    [
        Message("document", "cam-1", SPEC, b"no json"),
        message(ONE, SPEC, {"format": 1}),
        message(ONE, SPEC, THE_SPEC.body(), run="other"),
        message(ONE, SPEC, THE_SPEC.body())._replace(sender="cam-9"),
        message(ONE, SPEC, THE_SPEC.body())._replace(name=ROSTER),
        message(ONE, STATE, {"status": "asleep"}),
        message(ONE, LINES, {"lines": "none"}),
        message(ONE, LINES, {"lines": [1]}),
    ],
)
def test_what_is_not_what_it_claims_is_counted_said_once_and_dropped(members, said, bad):
    members.hear(bad)
    members.hear(bad)
    assert members.refused[bad.sender] == 2
    assert len(said) == 1
    assert "\n" not in said[0]
    assert (members.spec, members.roster, members.states, members.lines) == (None, None, {}, {})


def test_another_key_under_a_known_id_is_refused(members, said):
    members.hear(message(ONE, STATE, State("ready", 1).body()))
    members.hear(message(Identity.make("cam-1"), STATE, State("failed", 2).body(), 9))
    assert members.states["cam-1"].status == "ready"
    assert "two agents use the same id" in said[0]


def test_an_older_document_is_refused(members):
    members.hear(message(ONE, STATE, State("training", 1).body(), 7))
    members.hear(message(ONE, STATE, State("ready", 1).body(), 6))
    assert members.states["cam-1"].status == "training"


def test_a_will_counts_whenever_it_comes(members):
    members.hear(message(ONE, STATE, State("training", 1).body(), 7))
    members.hear(message(ONE, STATE, State("lost", 1).body(), 0))
    assert members.states["cam-1"].status == "lost"
    members.hear(message(ONE, STATE, State("training", 1).body(), 8))
    assert members.states["cam-1"].status == "training"


@FEW
@given(
    st.lists(
        st.tuples(
            st.sampled_from([SPEC, ROSTER, STATE, STOP, LINES, "other"]), st.dictionaries(st.text(), JSON)
        ),
        max_size=4,
    )
)
def test_a_member_of_the_site_that_says_anything_stops_nobody(documents):
    members = Members(Trust(RUN))
    for number, (name, body) in enumerate(documents):
        try:
            heard = message(ONE, name, body, number + 1)
        except ValueError:  # nobody would open it
            continue
        members.hear(heard)
    assert members.spec is None
    assert members.roster is None


def test_numbers_grow_even_where_the_clock_is_set_back(monkeypatch):
    transport, trust = MemoryTransport(MemoryHub(), "cam-1"), Trust(RUN)
    writer = Writer(transport, ONE, RUN)
    transport.open(writer.will({"status": "lost"}))

    def newest() -> int:
        while (heard := transport.receive(0.0)) is not None:
            if heard.payload:
                trust.open(heard.payload, "cam-1", heard.name)
        return trust.newest("cam-1", STATE)

    writer.publish(STATE, State("joining", 1).body())
    first = newest()
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    writer.publish(STATE, State("ready", 1).body())
    assert newest() == first + 1
    again = Writer(transport, ONE, RUN)  # started anew, with the clock still wrong
    again.above(newest())
    again.publish(STATE, State("training", 2).body())
    assert newest() == first + 2
    again.publish(STATE, None)
    transport.close()
