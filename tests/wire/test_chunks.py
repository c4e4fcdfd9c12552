"""Chunks: a message is given once and whole, whatever its frames do; memory is bounded."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.wire.chunks import OF_CHUNK, OF_MESSAGE, RECENT, Assembler
from edgekit.wire.frame import Head, Kind, unpack
from tests.wire.frames import HEAD, changed, frames, packed

PAYLOAD = bytes(range(100))


def assembler(limit: int = 1 << 20, memory: int = 1 << 20) -> Assembler:
    return Assembler(limit, memory)


def given_by(assembler: Assembler, chunks) -> list[bytes]:
    return [bytes(whole) for chunk in chunks if (whole := assembler.add(chunk)) is not None]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data(), size=st.integers(0, 200), chunk=st.integers(10, 80))
def test_chunks_in_any_order_and_more_than_once_give_a_message_once(data, size, chunk):
    payload = bytes(index % 251 for index in range(size))
    sent = frames(payload, chunk=chunk)
    again = data.draw(st.lists(st.sampled_from(sent), max_size=10))
    some = assembler()
    assert given_by(some, data.draw(st.permutations(sent + again))) == [payload]
    assert some.counts == Counter(duplicate=len(again))
    assert some.held == 0


def test_messages_that_are_mixed_come_apart():
    heads = [
        HEAD,
        *(HEAD._replace(**{name: 99}) for name in ("epoch", "round", "phase", "stream", "sender")),
        HEAD._replace(kind=Kind.MODEL),
    ]
    payloads = [bytes([number]) * 100 for number in range(len(heads))]
    several = [frames(payload, head, chunk=30) for head, payload in zip(heads, payloads, strict=True)]
    mixed = [chunk for chunks in zip(*several, strict=True) for chunk in chunks]
    assert given_by(assembler(), mixed) == payloads


def test_a_message_of_one_chunk_is_not_copied():
    (frame,) = frames(PAYLOAD)
    assert assembler().add(frame) is frame.payload


@pytest.mark.parametrize(
    "other",
    [
        frames(PAYLOAD, HEAD._replace(schema=1), chunk=30)[1],
        frames(PAYLOAD, HEAD._replace(codec=1), chunk=30)[1],
        frames(PAYLOAD, HEAD._replace(run=1), chunk=30)[1],
        frames(PAYLOAD[:99], chunk=30)[1],
        frames(PAYLOAD, chunk=40)[1],
        frames(PAYLOAD[:61], chunk=30)[2],
        frames(PAYLOAD, chunk=26)[3],
        frames(PAYLOAD)[0],
    ],
    ids=["schema", "codec", "run", "total", "chunks", "fewer", "stride", "whole"],
)
def test_of_chunks_that_contradict_each_other_the_first_counts(other):
    first, *rest = frames(PAYLOAD, chunk=30)
    some = assembler()
    assert given_by(some, [first, other, *rest]) == [PAYLOAD]
    assert some.counts == Counter(contradictory=1)


def test_of_one_chunk_twice_with_other_bytes_the_first_counts():
    first, second, *rest = frames(PAYLOAD, chunk=30)
    other = frames(bytes(100), chunk=30)[1]
    some = assembler()
    assert given_by(some, [first, second, other, *rest]) == [PAYLOAD]
    assert some.counts == Counter(duplicate=1)


def test_a_message_that_is_too_large_is_dropped_at_its_first_frame():
    some = assembler(limit=99)
    assert given_by(some, frames(PAYLOAD, chunk=30) + frames(PAYLOAD)) == []
    assert some.counts == Counter({"too large": 5})
    assert some.held == 0
    assert given_by(some, frames(PAYLOAD[:99], chunk=30)) == [PAYLOAD[:99]]


def test_memory_is_taken_for_what_came_not_for_what_is_announced():
    some = assembler(limit=1 << 32)
    data = packed(bytes(60), chunk=30)[0]
    last = changed(data, chunk=65_534, chunks=65_535, total=65_534 * 65_536 + 30)
    assert some.add(unpack(last, None)) is None
    assert some.held == OF_MESSAGE + OF_CHUNK + 30


def test_the_oldest_unfinished_message_makes_room():
    room = 2 * (OF_MESSAGE + 3 * (OF_CHUNK + 30))
    some = assembler(memory=room)
    messages = [frames(PAYLOAD, Head(Kind.DATA, round=number), chunk=30) for number in range(3)]
    for message in messages:
        assert given_by(some, message[:3]) == []
        assert some.held <= room
    assert some.counts == Counter(evicted=1)
    assert some.missing(messages[0][0].head) is None
    assert given_by(some, messages[1][3:] + messages[2][3:]) == [PAYLOAD, PAYLOAD]
    assert given_by(some, messages[0]) == [PAYLOAD]  # evicted, not refused for ever
    assert some.held == 0


def test_a_message_larger_than_the_memory_evicts_itself():
    some = assembler(memory=OF_MESSAGE + OF_CHUNK + 30)
    assert given_by(some, frames(PAYLOAD, chunk=30)) == []
    assert some.counts == Counter(evicted=2)
    assert some.held == 0


def test_many_small_unfinished_messages_are_bounded_too():
    some = assembler(memory=100_000)
    for number in range(1000):
        some.add(frames(b"abc", Head(Kind.DATA, round=number), chunk=1)[0])
        assert some.held <= 100_000
    kept = 100_000 // (OF_MESSAGE + OF_CHUNK + 1)
    assert some.counts["evicted"] == 1000 - kept
    assert len(some._unfinished) == kept


def test_what_is_missing_is_known():
    some = assembler()
    chunks = frames(PAYLOAD, chunk=30)
    assert some.missing(HEAD) is None
    some.add(chunks[2])
    some.add(chunks[0])
    assert some.missing(HEAD) == [1, 3]
    assert given_by(some, [chunks[1], chunks[3]]) == [PAYLOAD]
    assert some.missing(HEAD) == []


def test_what_is_old_is_forgotten():
    some = assembler()
    for number in range(4):
        some.add(frames(PAYLOAD, Head(Kind.DATA, round=number), chunk=30)[0])
    some.forget(lambda head: head.round < 3)
    assert [some.missing(Head(Kind.DATA, round=number)) for number in range(4)] == [
        None,
        None,
        None,
        [1, 2, 3],
    ]
    assert some.held == OF_MESSAGE + OF_CHUNK + 30
    assert some.counts == Counter()


def test_finished_messages_are_remembered_for_a_while():
    some = assembler()
    rounds = [frames(b"x", Head(Kind.DATA, round=number))[0] for number in range(RECENT + 1)]
    assert len(given_by(some, rounds)) == RECENT + 1
    assert given_by(some, rounds[1:]) == []
    assert given_by(some, rounds[:1]) == [b"x"]
    assert len(some._finished) == RECENT
