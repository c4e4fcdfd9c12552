"""What was sent lately: so many phases, so many bytes, and always the newest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgekit.coordinator.store import Store
from tests.coordinator.papers import FEW

FRAMES = [b"one", b"two", b"three"]


def test_a_receiver_gets_its_own_frames_or_those_for_all():
    store = Store(4)
    store.keep((1, 0, 0), None, FRAMES)
    store.keep((1, 0, 0), "cam-1", [b"mine"])
    assert store.take((1, 0, 0), "cam-1", []) == [b"mine"]
    assert store.take((1, 0, 0), "cam-2", []) == FRAMES
    assert store.of((1, 0, 0)) == {None: FRAMES, "cam-1": [b"mine"]}


def test_frames_for_one_are_not_for_another():
    store = Store(4)
    store.keep((1, 0, 0), "cam-1", [b"mine"])
    assert store.take((1, 0, 0), "cam-2", []) == []


def test_chunks_are_taken_by_number_and_wrong_ones_are_left_out():
    store = Store(4)
    store.keep((1, 0, 0), None, FRAMES)
    assert store.take((1, 0, 0), "cam-1", [2, 0]) == [b"three", b"one"]
    assert store.take((1, 0, 0), "cam-1", [1, 3, 65535]) == [b"two"]


def test_what_is_gone_is_empty():
    store = Store(2)
    for number in range(3):
        store.keep((1, number, 0), None, FRAMES)
    assert store.take((1, 0, 0), "cam-1", []) == []
    assert store.of((1, 0, 0)) == {}
    assert store.take((1, 1, 0), "cam-1", []) == FRAMES


def test_bytes_are_bounded_but_the_newest_is_kept_whole():
    store = Store(100, limit=10)
    for number in range(5):
        store.keep((1, number, 0), None, [bytes(4)])
    assert [bool(store.of((1, number, 0))) for number in range(5)] == [False, False, False, True, True]
    store.keep((1, 5, 0), None, [bytes(50)])
    assert store.take((1, 5, 0), "cam-1", []) == [bytes(50)]
    assert store.of((1, 4, 0)) == {}
    assert store.held == 50


@FEW
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from([None, "a", "b"]), st.integers(0, 30)),
        max_size=60,
    )
)
def test_it_counts_what_it_holds(kept):
    store = Store(3, limit=60)
    for number, receiver, size in kept:
        store.keep((1, number, 0), receiver, [bytes(size)])
        places = [(1, place, 0) for place in range(7)]
        held = sum(len(frame) for place in places for frames in store.of(place).values() for frame in frames)
        assert store.held == held
        assert sum(bool(store.of(place)) for place in places) <= 3


def test_what_is_on_its_way_already_is_not_sent_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("edgekit.coordinator.store.monotonic", lambda: now[0])
    store = Store(2)
    store.keep((1, 0, 0), None, FRAMES)
    assert store.again((1, 0, 0), "cam-1", [], 0.5) == FRAMES
    assert store.again((1, 0, 0), "cam-1", [1], 0.5) == []
    assert store.again((1, 0, 0), "cam-2", [1], 0.5) == [b"two"]
    now[0] += 0.6
    assert store.again((1, 0, 0), "cam-1", [], 0.5) == FRAMES
    assert store.again((1, 5, 0), "cam-1", [], 0.5) == []


def test_who_asks_for_what_is_gone_takes_no_memory():
    store = Store(2)
    store.keep((1, 0, 0), None, FRAMES)
    for number in range(1000):
        assert store.again((1, 7, number), "cam-1", [], 0.5) == []
    assert len(store._served) <= 2
