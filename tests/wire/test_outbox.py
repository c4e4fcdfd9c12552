"""What waits to be sent: a window of bytes, and documents that are kept."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.wire.outbox import Outbox, Post


class Bell:
    """Counts how often the loop was told of something."""

    def __init__(self) -> None:
        self.rung = 0

    def __call__(self) -> None:
        self.rung += 1


def opened(window: int = 100) -> tuple[Outbox, Bell]:
    bell = Bell()
    outbox = Outbox(window, bell)
    outbox.open()
    return outbox, bell


def test_without_a_link_frames_are_refused_and_documents_kept():
    bell = Bell()
    outbox = Outbox(100, bell)
    assert outbox.send("out", b"1", 1) is False
    outbox.publish("state", b"here")
    outbox.publish("plan", b"1")
    outbox.publish("plan", b"2")
    outbox.publish("gone", b"")
    assert (list(outbox.waiting), bell.rung) == ([], 0)
    outbox.open()
    assert list(outbox.waiting) == [
        Post("state", b"here", 1, retain=True),
        Post("plan", b"2", 1, retain=True),
        Post("gone", b"", 1, retain=True),
    ]


def test_with_a_link_all_is_posted_in_order():
    outbox, bell = opened()
    assert outbox.send("out", b"12", 1)
    outbox.publish("state", b"here")
    assert outbox.send("line", b"3", 0)
    assert list(outbox.waiting) == [
        Post("out", b"12", 1, 2),
        Post("state", b"here", 1, retain=True),
        Post("line", b"3", 0, 1),
    ]
    assert bell.rung == 3


def test_a_loss_forgets_frames_and_posts_documents_anew():
    outbox, _ = opened()
    outbox.publish("state", b"here")
    outbox.send("out", bytes(100), 1)
    assert outbox.shut() == 2
    assert outbox.send("out", b"1", 1) is False
    outbox.open()
    assert list(outbox.waiting) == [Post("state", b"here", 1, retain=True)]
    assert outbox.send("out", bytes(100), 1)  # the window is free again


def test_who_sends_waits_for_room():
    outbox, _ = opened(100)
    assert outbox.send("out", bytes(60), 1)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(outbox.send, "out", bytes(60), 1)
        time.sleep(0.1)
        assert not sending.done()
        outbox.release(60)
        assert sending.result(5) is True


def test_who_waits_is_told_of_a_loss():
    outbox, _ = opened(100)
    outbox.send("out", bytes(60), 1)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(outbox.send, "out", bytes(60), 1)
        time.sleep(0.1)
        outbox.shut()
        assert sending.result(5) is False


def test_a_frame_larger_than_the_window_goes_alone():
    outbox, _ = opened(10)
    assert outbox.send("out", bytes(50), 1)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(outbox.send, "out", bytes(50), 1)
        time.sleep(0.1)
        assert not sending.done()
        outbox.release(50)
        assert sending.result(5) is True


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(0, 150), max_size=60), window=st.integers(1, 300))
def test_never_more_than_the_window_is_under_way(sizes, window):
    outbox, _ = opened(window)
    under_way: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: [outbox.send("out", bytes(size), 1) for size in sizes])
        while not sending.done() or outbox.waiting or under_way:
            while outbox.waiting:
                under_way.append(outbox.waiting.popleft().size)
            assert len([size for size in under_way if size]) <= 1 or sum(under_way) <= window
            if under_way:
                outbox.release(under_way.pop(0))
        assert sending.result() == [True] * len(sizes)
