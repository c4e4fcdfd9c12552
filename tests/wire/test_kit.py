"""The kit of transports finds what is broken: each of these breaks one promise."""

from __future__ import annotations

import time

import pytest

from edgekit.testing import transport as kit
from edgekit.testing import transport_agents
from edgekit.testing.transport import check_transport
from edgekit.wire.inbox import Inbox
from edgekit.wire.memory import MemoryHub, MemoryTransport
from edgekit.wire.transport import STATE, WATCHERS, LinkError, LinkInfo, Message
from tests.wire.test_memory import failed

ORDER = "frames of a sender come in order, unchanged"
BROADCAST = "a frame to all reaches those who listen, and no one else"
DIRECT = "a frame to one reaches that one alone"
NEWEST = "who opens later hears the newest documents"
SLOW = "who does not read loses its oldest frames, never documents"
WAITS = "waits as long as it is told, no longer"
CLOSING = "closing leaves no will, and may be repeated"
HEALS = "heals after the broker was restarted"


class Sound(MemoryTransport):
    """Breaks nothing; with little room, so that the kit is quick."""

    def __init__(self, hub: MemoryHub, me: str) -> None:
        super().__init__(hub, me, inbox=1 << 20)
        self.number = 0  # of frames sent

    def send(self, payload, to=None):
        self.number += 1
        return super().send(payload, to)


class Loses(Sound):
    """Every 50th frame, and says nothing."""

    def send(self, payload, to=None):
        self.number += 1
        return self.number % 50 == 0 or MemoryTransport.send(self, payload, to)


class Swaps(Sound):
    """A frame and the one before it, now and then."""

    def send(self, payload, to=None):
        if self.number % 20 == 19 and to is None and payload != transport_agents.PROBE:
            self.number, self.held = 0, payload
            return True
        sent = super().send(payload, to)
        if held := self.__dict__.pop("held", None):
            super().send(held)
        return sent


class Damages(Sound):
    """Frames that are large lose their end."""

    def send(self, payload, to=None):
        if len(payload) > self._hub.info.largest:
            return super().send(payload, to)
        return super().send(payload[:65_000], to)


class Invents(Sound):
    """Sends frames of its own, too."""

    def send(self, payload, to=None):
        super().send(b"invented", to)
        return super().send(payload, to)


class Shouts(Sound):
    """Sends what is for one to all."""

    def send(self, payload, to=None):
        if to not in (None, WATCHERS):
            super().send(payload)
        return super().send(payload, to)


class Misdelivers(Sound):
    """Sends what is for one to whoever opened last, too."""

    def send(self, payload, to=None):
        last = self._hub._agents[-1].me
        if to not in (None, WATCHERS, last):
            super().send(payload, last)
        return super().send(payload, to)


class Echoes(Sound):
    """Hears itself."""

    def wants(self, message, to):
        return super().wants(message, to) or (to is None and message.sender == self.me)


class Promiscuous(Sound):
    """Hears whatever is for all."""

    def wants(self, message, to):
        return to is None or super().wants(message, to)


class Hoards(Sound):
    """Goes on to listen to those whom it listened to."""

    def listen(self, senders, *, lines=False):
        super().listen({*self._senders, *senders}, lines=lines)


class Silent(Sound):
    """Says no to whatever it sends."""

    def send(self, payload, to=None):
        super().send(payload, to)
        return False


class Boundless(Sound):
    """Takes frames of any size."""

    def send(self, payload, to=None):
        return super().send(payload[: self._hub.info.largest], to)


class Blind(Sound):
    """Hears no lines."""

    def listen(self, senders, *, lines=False):
        super().listen(senders)


class Nosy(Sound):
    """Always hears lines."""

    def listen(self, senders, *, lines=False):
        super().listen(senders, lines=True)


class Confuses(Sound):
    """Lines and frames."""

    def hear(self, message):
        super().hear(
            Message("frame", message.sender, "", message.payload) if message.what == "line" else message
        )


class Forgets(Sound):
    """Documents of before it came."""

    def open(self, will):
        info = super().open(will)
        self._inbox = Inbox(1 << 20)
        return info


class Reminisces(Sound):
    """Remembers the first version of each document."""

    def publish(self, name, document):
        super().publish(name, document)
        first = self._hub.__dict__.setdefault("first", {}).setdefault((self.me, name), document)
        if document and name != STATE:
            self._hub._documents[self.me, name] = first


class Clings(Sound):
    """Keeps what was withdrawn, as an empty document."""

    def publish(self, name, document):
        super().publish(name, document)
        if document is None:
            self._hub._documents[self.me, name] = b""


class Mute(Sound):
    """Tells no one who is there that a document was withdrawn."""

    def publish(self, name, document):
        if document is None:
            self._hub._documents.pop((self.me, name))
        else:
            super().publish(name, document)


class Deaf(Sound):
    """Does not hear its own documents."""

    def hear(self, message):
        if message.sender != self.me or message.what != "document":
            super().hear(message)


class Intestate(Sound):
    """Leaves no will."""

    def open(self, will):
        return super().open(b"")


class Bequeaths(Sound):
    """Leaves its will as it closes, too."""

    def close(self):
        if self.up:
            self.publish(STATE, self.will)
        super().close()


class Once(Sound):
    """Cannot be closed twice."""

    closed = False

    def close(self):
        if self.closed:
            raise LinkError("closed already")
        self.closed = True
        super().close()


class Tidy(Sound):
    """Takes its documents with it."""

    def close(self):
        if self.up:
            self.publish(STATE, None)
        super().close()


class Impatient(Sound):
    """Does not wait."""

    def receive(self, timeout):
        return super().receive(min(timeout, 0.05))


class Sleepy(Sound):
    """Always waits."""

    def receive(self, timeout):
        return super().receive(max(timeout, 0.2))


class Raises(Sound):
    """Raises where nothing comes."""

    def receive(self, timeout):
        message = super().receive(timeout)
        if message is None:
            raise TimeoutError("nothing came")
        return message


class Greedy(Sound):
    """Keeps whatever comes."""

    def __init__(self, hub, me):
        super().__init__(hub, me)
        self._inbox.limit = 1 << 40


class Stale(Sound):
    """Loses the newest frames, not the oldest."""

    def hear(self, message):
        if message.what != "frame" or self._inbox._size + len(message.payload) < 1 << 20:
            super().hear(message)


class Careless(Sound):
    """Loses documents where there are many frames."""

    def hear(self, message):
        if message.what != "document" or self._inbox._size < 1 << 19:
            super().hear(message)


class Cramped(Sound):
    """Makes no room for what a large model sends."""

    def make_room(self, size):
        pass


class Stranger(Sound):
    """Has another id than it was given."""

    me = "stranger"


class Nameless(Sound):
    """Does not say what is at the other end."""

    def open(self, will):
        return LinkInfo(super().open(will).largest, "")


class Abrupt(Sound):
    """Does not say when its link goes down."""

    def hear(self, message):
        if message != Message("link", name="down"):
            super().hear(message)


class Neglects(Sound):
    """Does not set its documents again for a broker that forgot them."""

    def take_documents(self):
        return []


class Distracted(Sound):
    """No longer listens once its link was down."""

    def fall(self):
        self._senders = frozenset()
        super().fall()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a process nothing takes as long as the kit allows."""
    monkeypatch.setattr(transport_agents, "QUIET", 0.01)
    monkeypatch.setattr(kit, "FLOOD", 32 << 20)
    monkeypatch.setattr(kit, "ROOM", 16 << 20)
    monkeypatch.setattr(kit, "WHOLE", 400_000)


def checked(kind: type[Sound], patience: float = 0.25) -> dict[str, str]:
    hub = MemoryHub(largest=1 << 17)

    def restart() -> None:
        hub.stop()
        hub.start()

    make = lambda me: kind(hub, me)  # noqa: E731
    return failed(check_transport(make, cut=hub.cut, restart=restart, patience=patience))


def test_what_is_sound_passes():
    assert checked(Sound, patience=5.0) == {}


@pytest.mark.parametrize(
    ("broken", "check", "reason"),
    [
        (Loses, ORDER, "frames are missing"),
        (Swaps, ORDER, "another order"),
        (Damages, ORDER, "not sent"),
        (Damages, "a message in chunks arrives whole", "another length than its header"),
        (Invents, ORDER, "not sent"),
        (Shouts, DIRECT, "who listens to the sender hears what is for another"),
        (Misdelivers, DIRECT, "hears what is for another"),
        (Echoes, BROADCAST, "the sender hears it"),
        (Promiscuous, BROADCAST, "who listens to another hears it too"),
        (Hoards, "changing whom it listens to changes what it hears", "no longer listened to"),
        (Silent, BROADCAST, "send gave False"),
        (Boundless, "a frame above the largest is refused", "raise ValueError"),
        (Blind, "lines reach those who watch", "no line came"),
        (Nosy, "lines reach those who watch", "who does not watch"),
        (Confuses, "lines reach those who watch", "no line came"),
        (Forgets, NEWEST, "did not come"),
        (Reminisces, NEWEST, "not the newest"),
        (Clings, "withdrawn documents are gone", "was withdrawn"),
        (Mute, "withdrawn documents are gone", "did not come"),
        (Deaf, "an agent hears its own documents", "did not come"),
        (Intestate, "a lost agent leaves its will", "did not come"),
        (Bequeaths, CLOSING, "became the state"),
        (Once, CLOSING, "closed already"),
        (Tidy, CLOSING, "did not come"),
        (Impatient, WAITS, "took 0.05 s"),
        (Sleepy, WAITS, "receive(0) waits"),
        (Raises, WAITS, "TimeoutError"),
        (Stale, SLOW, "the newest frame did not come"),
        (Careless, SLOW, "of 20 documents are missing"),
        (Cramped, "who made room loses nothing of so much", "frames are missing"),
        (Stranger, "opens, and says what it can carry", "me is 'stranger'"),
        (Nameless, "opens, and says what it can carry", "other end"),
        (Abrupt, HEALS, "down did not come"),
        (Neglects, HEALS, "did not come"),
        (Distracted, HEALS, "no frame to all came"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_is_broken_is_found(broken, check, reason):
    found = checked(broken)
    assert reason in found.get(check, ""), found


def test_memory_without_bound_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kit, "FLOOD", 256 << 20)  # more than earlier tests may have freed
    assert "of memory" in checked(Greedy)[SLOW]


def test_a_small_link_is_found():
    hub = MemoryHub(largest=512)
    assert "1024 are the least" in failed(check_transport(lambda me: Sound(hub, me), patience=0.25)).get(
        "opens, and says what it can carry", ""
    )


def test_where_nothing_opens_every_check_says_why():
    hub = MemoryHub()
    hub.stop()
    began = time.monotonic()
    found = failed(check_transport(lambda me: Sound(hub, me), cut=hub.cut, restart=hub.start))
    assert time.monotonic() - began < 2
    assert len(found) == 17
    assert all("the broker is stopped" in detail for detail in found.values())


def test_without_the_means_to_break_it_two_checks_are_skipped():
    hub = MemoryHub(largest=1 << 17)
    rows = check_transport(lambda me: Sound(hub, me))
    assert [row.check for row in rows if row.detail.startswith("skipped: give ")] == [
        "a lost agent leaves its will",
        HEALS,
    ]
    assert failed(rows) == {}
