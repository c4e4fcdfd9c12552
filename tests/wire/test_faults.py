"""Faults: each happens as often as it was asked for, to frames alone."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest

from edgekit.errors import BadInput
from edgekit.testing.transport import check_transport
from edgekit.wire import faults
from edgekit.wire.faults import Faults, FaultyTransport
from edgekit.wire.frame import BadFrame, unpack
from edgekit.wire.memory import MemoryHub, MemoryTransport
from edgekit.wire.transport import Message, Transport
from tests.wire.frames import packed
from tests.wire.test_memory import DOWN, UP, document, failed, heard

FRAMES = [number.to_bytes(2, "little") for number in range(2000)]


def pair(seed: int = 1, **chances: float) -> tuple[MemoryTransport, FaultyTransport]:
    """A sender, and who hears it through faults."""
    hub = MemoryHub()
    sender = MemoryTransport(hub, "sender")
    faulty = FaultyTransport(MemoryTransport(hub, "faulty"), Faults(**chances), seed)
    for agent in (sender, faulty):
        agent.open(b"lost")
    faulty.listen(["sender"])
    return sender, faulty


def sent(sender: Transport, faulty: Transport, frames: list[bytes] = FRAMES) -> list[bytes]:
    """What comes of these frames."""
    for frame in frames:
        sender.send(frame)
    return [message.payload for message in heard(faulty)]


def near(count: int, chance: float) -> bool:
    """Within 4 standard deviations of what is expected of all frames."""
    return abs(count - chance * len(FRAMES)) < 4 * (len(FRAMES) * chance * (1 - chance)) ** 0.5


def test_no_faults_change_nothing():
    sender, faulty = pair()
    assert sent(sender, faulty) == FRAMES
    assert faulty.counts == Counter()


@pytest.mark.parametrize("chances", [{}, {"duplicate": 0.3}], ids=["none", "duplicates"])
def test_what_a_transport_may_do_passes_the_kit(chances):
    hub = MemoryHub()

    def restart() -> None:
        hub.stop()
        hub.start()

    make = lambda me: FaultyTransport(MemoryTransport(hub, me), Faults(**chances), 1)  # noqa: E731
    assert failed(check_transport(make, cut=hub.cut, restart=restart)) == {}


def test_frames_are_dropped():
    sender, faulty = pair(drop=0.2)
    came = sent(sender, faulty)
    assert came == sorted(set(came), key=FRAMES.index)
    assert near(faulty.counts["drop"], 0.2)
    assert len(came) == len(FRAMES) - faulty.counts["drop"]


def test_frames_are_duplicated():
    sender, faulty = pair(duplicate=0.2)
    came = sent(sender, faulty)
    assert list(dict.fromkeys(came)) == FRAMES
    assert near(faulty.counts["duplicate"], 0.2)
    assert len(came) == len(FRAMES) + faulty.counts["duplicate"]


def test_frames_are_corrupted_so_that_none_is_read():
    sender, faulty = pair(corrupt=0.2)
    whole = packed(b"payload")[0]
    came = sent(sender, faulty, [whole] * len(FRAMES))
    damaged = [data for data in came if data != whole]
    assert len(came) == len(FRAMES)
    assert len(damaged) == faulty.counts["corrupt"]
    assert near(len(damaged), 0.2)
    assert near(2 * sum(len(data) < len(whole) for data in damaged), 0.2)  # half are cut off
    for data in damaged:
        with pytest.raises(BadFrame):
            unpack(data, None)


def test_frames_change_places():
    sender, faulty = pair(reorder=0.2)
    came = sent(sender, faulty)
    came += [message.payload for message in [faulty.receive(2 * faults.HOLD)] if message]  # the last may wait
    assert sorted(came) == sorted(FRAMES)
    places = [FRAMES.index(frame) for frame in came]
    swaps = sum(first > second for first, second in pairwise(places))
    assert swaps == faulty.counts["reorder"]
    assert near(swaps, 0.2 / 1.2)  # the one after it does not swap too


def test_a_frame_with_none_after_it_comes_in_the_end():
    sender, faulty = pair(reorder=1.0)
    sender.send(b"last")
    assert faulty.receive(0) is None
    began = time.monotonic()
    assert faulty.receive(2) == Message("frame", "sender", payload=b"last")
    assert 0.5 * faults.HOLD < time.monotonic() - began < 1
    assert faulty.counts == Counter()


def test_frames_are_delayed():
    sender, faulty = pair(delay=0.2)
    began = time.monotonic()
    came = sent(sender, faulty, FRAMES[:200])
    early = len(came)
    while (message := faulty.receive(0.3)) is not None:
        came.append(message.payload)
        last = time.monotonic() - began
    assert early < 100
    assert sorted(came) == sorted(FRAMES[:200])
    assert came != FRAMES[:200]
    assert 0.1 < last < 0.4
    assert faulty.counts == Counter(delay=200)


def test_a_delayed_frame_does_not_hold_up_a_document():
    sender, faulty = pair(delay=0.5)
    sender.send(b"late")
    sender.publish("state", b"here")
    assert faulty.receive(1) == document("sender", "state", b"here")
    assert faulty.receive(1) == Message("frame", "sender", payload=b"late")


def test_documents_lines_and_links_come_as_they_are():
    sender, faulty = pair(drop=1.0, duplicate=1.0, reorder=1.0, corrupt=1.0, delay=9.0)
    faulty.listen(["sender"], lines=True)
    sender.publish("state", b"1")
    sender.send(b"frame")
    sender.send(b"line", "#")
    sender.publish("state", b"2")
    sender._hub.cut("faulty")
    sender._hub.restore("faulty")
    assert heard(faulty) == [
        document("sender", "state", b"1"),
        Message("line", "sender", payload=b"line"),
        document("sender", "state", b"2"),
        DOWN,
        UP,
        document("sender", "state", b"2"),
        document("faulty", "state", b"lost"),
    ]
    assert faulty.counts == Counter(drop=1)


def test_what_is_dropped_does_not_hide_what_comes_after_it():
    sender, faulty = pair(drop=1.0)
    for frame in FRAMES[:100]:
        sender.send(frame)
    sender.publish("state", b"here")
    assert faulty.receive(0) == document("sender", "state", b"here")


def test_the_same_seed_does_the_same_to_the_same_frames():
    chances = {"drop": 0.1, "duplicate": 0.1, "corrupt": 0.1, "reorder": 0.1}
    one, same, other = (sent(*pair(seed, **chances)) for seed in (5, 5, 6))
    assert one == same != other


def test_what_it_sends_and_what_it_is_are_the_other_s():
    sender, faulty = pair(drop=1.0)
    sender.listen(["faulty"])
    assert faulty.me == "faulty"
    assert faulty.send(b"frame")
    faulty.publish("state", b"here")
    assert heard(sender) == [
        Message("frame", "faulty", payload=b"frame"),
        document("faulty", "state", b"here"),
    ]


def test_what_is_late_never_comes_once_it_is_closed():
    sender, faulty = pair(delay=0.05)
    sent(sender, faulty, FRAMES[:5])
    faulty.close()
    faulty.close()
    assert faulty.receive(0.1) is None


@pytest.mark.parametrize(
    ("chances", "message"),
    [
        ({"drop": 1.5}, "drop is 1.5. Give a probability"),
        ({"corrupt": -0.1}, "corrupt is -0.1"),
        ({"reorder": float("nan")}, "reorder is nan"),
        ({"delay": -1.0}, "delay is -1. Give seconds"),
        ({"delay": float("inf")}, "delay is inf"),
    ],
)
def test_what_cannot_be_is_refused(chances, message):
    with pytest.raises(BadInput, match=message):
        Faults(**chances)
