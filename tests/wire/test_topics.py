"""Topics say who sends, and no payload can say otherwise."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edgekit.errors import BadInput
from edgekit.wire import topics
from edgekit.wire.topics import Place, Topics

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
MINE = Topics("run", "cam-1")


def hears(mine: Topics, topic: str, *others: str, lines: bool = False) -> bool:
    filters = [*mine.always, *mine.listen(others, lines=lines)]
    return any(topic_matches_sub(one, topic) for one in filters)


def test_its_example_runs():
    assert doctest.testmod(topics).failed == 0


@settings(deadline=None)
@given(run=IDS, me=IDS, other=IDS, name=IDS)
def test_what_another_writes_is_read_as_it_was_meant(run, me, other, name):
    mine, its = Topics(run, me), Topics(run, other)
    assert mine.read(its.out) == Place("out", other)
    assert mine.read(its.line) == Place("line", other)
    assert mine.read(its.document(name)) == Place("doc", other, name)
    assert mine.read(its.to(me)) == Place("to", other)


@settings(deadline=None)
@given(topic=st.text(max_size=60) | st.from_regex(r"ek/1/run/(p|to)/[a-z0-9/#+-]{0,20}", fullmatch=True))
def test_any_topic_can_be_read(topic):
    place = MINE.read(topic)
    if place is not None:
        its = Topics("run", place.sender)
        kinds = {"out": its.out, "line": its.line, "to": its.to("cam-1")}
        assert topic == (its.document(place.name) if place.kind == "doc" else kinds[place.kind])


@pytest.mark.parametrize(
    "topic",
    [
        "ek/1/other/p/cam-2/out",
        "ek/2/run/p/cam-2/out",
        "ek/1/run/p/cam-2",
        "ek/1/run/p/cam-2/out/more",
        "ek/1/run/p//out",
        "ek/1/run/p/-x/out",
        "ek/1/run/p/cam-2/doc/",
        "ek/1/run/p/cam-2/doc/a/b",
        "ek/1/run/to/cam-2/cam-3",
        "ek/1/run/to/cam-1/",
        "ek/1/run/to/cam-1/a/b",
    ],
)
def test_topics_of_no_one(topic):
    assert MINE.read(topic) is None


def test_what_is_heard():
    its = Topics("run", "cam-2")
    assert hears(MINE, its.document("state"))
    assert hears(MINE, its.to("cam-1"))
    assert not hears(MINE, its.to("cam-3"))
    assert not hears(MINE, its.out)
    assert hears(MINE, its.out, "cam-2")
    assert not hears(MINE, Topics("run", "cam-22").out, "cam-2")
    assert not hears(MINE, its.line, "cam-2")
    assert hears(MINE, its.line, lines=True)
    assert not hears(MINE, Topics("other", "cam-2").document("state"))


@pytest.mark.parametrize("wrong", ["", "a/b", "+", "#", "-a", "a" * 65, "a b", "ä", "a\n"])
def test_what_is_no_id(wrong):
    for make in (
        lambda: Topics(wrong, "cam-1"),
        lambda: Topics("run", wrong),
        lambda: MINE.to(wrong),
        lambda: MINE.document(wrong),
        lambda: MINE.listen([wrong], lines=False),
    ):
        with pytest.raises(BadInput, match="cannot be an id"):
            make()
