"""What waits to be read: in order, bounded, documents never lost."""

from __future__ import annotations

import threading
import time
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.wire.inbox import OF_MESSAGE, VERSIONS, Inbox
from edgekit.wire.transport import Message

KINDS = st.sampled_from(["frame", "line", "document", "link"])


def frame(number: int, size: int = 0) -> Message:
    return Message("frame", "cam-1", str(number), bytes(size))


def drained(inbox: Inbox) -> list[Message]:
    return list(iter(lambda: inbox.take(0), None))


@settings(deadline=None)
@given(st.lists(st.tuples(KINDS, st.integers(0, 3)), max_size=40))
def test_with_room_all_comes_in_order(what):
    inbox = Inbox(1 << 20)
    messages = [Message(kind, f"cam-{who}", str(number)) for number, (kind, who) in enumerate(what)]
    for message in messages:
        inbox.put(message)
    links = [message for message in messages if message.what == "link"]
    gone = set(links[:-VERSIONS]) if len(links) > VERSIONS else set()
    assert drained(inbox) == [message for message in messages if message not in gone]
    assert inbox.take(0) is None


@settings(deadline=None)
@given(st.lists(st.tuples(KINDS, st.integers(0, 3000)), max_size=60), st.integers(0, 8000))
def test_with_little_room_the_oldest_frames_go(what, limit):
    inbox, kept, lost = Inbox(limit), deque(), 0
    messages = [Message(kind, f"cam-{n}", "", bytes(size)) for n, (kind, size) in enumerate(what)]
    messages = [message for message in messages if message.what != "link"]
    for message in messages:
        inbox.put(message)
        if message.what != "document":
            kept.append(message)
            while len(kept) > 1 and sum(len(one.payload) + OF_MESSAGE for one in kept) > limit:
                kept.popleft()
                lost += 1
    stays = set(map(id, kept)) | {id(message) for message in messages if message.what == "document"}
    assert [id(message) for message in drained(inbox)] == [
        id(message) for message in messages if id(message) in stays
    ]
    assert inbox.lost == lost


def test_a_frame_that_is_larger_than_the_room_is_kept():
    inbox = Inbox(10)
    inbox.put(frame(1, 100))
    inbox.put(frame(2, 100))
    assert drained(inbox) == [frame(2, 100)]


def test_empty_frames_take_room_too():
    inbox = Inbox(10 * OF_MESSAGE)
    for number in range(100):
        inbox.put(frame(number))
    assert drained(inbox) == [frame(number) for number in range(90, 100)]


def test_of_a_document_the_newest_versions_wait():
    inbox = Inbox(0)
    for number in range(100):
        inbox.put(Message("document", "cam-1", "state", bytes([number])))
        inbox.put(Message("document", "cam-2", f"one-{number}", b""))
    waiting = drained(inbox)
    states = [message.payload[0] for message in waiting if message.sender == "cam-1"]
    assert states == list(range(100 - VERSIONS, 100))
    assert sum(message.sender == "cam-2" for message in waiting) == 100


def test_it_waits_as_long_as_it_is_told():
    inbox = Inbox(100)
    begin = time.monotonic()
    assert inbox.take(0.1) is None
    assert 0.09 < time.monotonic() - begin < 1
    assert inbox.take(0) is None
    assert inbox.take(-1) is None


def test_who_waits_is_woken():
    inbox = Inbox(100)
    threading.Timer(0.1, inbox.put, [frame(1)]).start()
    begin = time.monotonic()
    assert inbox.take(5) == frame(1)
    assert time.monotonic() - begin < 2


def test_polling_leaves_nothing_behind():
    inbox = Inbox(1 << 20)
    for number in range(1000):  # whether someone waited or not, before each
        inbox.take(0 if number % 2 else 1e-4)
        inbox.put(frame(number))
        assert inbox.take(1) == frame(number)
    assert inbox._bell.qsize() <= 2


def test_one_thread_fills_it_while_another_empties_it():
    inbox, count = Inbox(1 << 30), 20_000
    filling = threading.Thread(target=lambda: [inbox.put(frame(number)) for number in range(count)])
    filling.start()
    assert [inbox.take(5) for _ in range(count)] == [frame(number) for number in range(count)]
    filling.join()
