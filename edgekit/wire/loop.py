"""The thread that keeps a link to a broker: it opens one after the other, and nothing else touches them."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from threading import Condition, Event, Thread
from typing import Final

from paho.mqtt.enums import MQTTProtocolVersion

from edgekit.wire import refusal
from edgekit.wire.inbox import Inbox
from edgekit.wire.link import TURN, V311, Ends, Link
from edgekit.wire.opening import PATIENCE, connected, proven
from edgekit.wire.outbox import Outbox
from edgekit.wire.transport import LinkError, LinkInfo, Message, What

FIRST_DELAY: Final = 0.1  # seconds between attempts, doubled each time, up to
LAST_DELAY: Final = 5.0
STEADY: Final = 5.0  # seconds after which a link counts as no failed attempt
FAREWELL: Final = 2.0  # seconds for what waits to be sent at the end
KNOWN: Final = 4096  # topics that are remembered

_log = logging.getLogger(__name__)


class Loop:
    """Links to a broker, one at a time, from `start` to `stop`.

    What comes in is in `inbox`, what goes out in `outbox`. After a loss the next attempt comes after 0.1 s, and ever
    later, up to 5 s; less by chance, so that not all agents meet a broker that is back at once.
    """

    def __init__(self, ends: Ends, *, largest: int, window: int, inbox: int) -> None:
        self.inbox, self.outbox = Inbox(inbox), Outbox(window, self._ring)
        self.trouble = ""  # why there is no link
        self._refusal: LinkError | None = None  # of something that was sent
        self._ends, self._largest, self._room = ends, largest, inbox
        self._heard = Inbox(inbox)  # another than the agent's, until it knows that there is a link
        self._places: dict[str, tuple[What, str, str] | None] = {}
        self._bell, self._wake = socket.socketpair()
        self._bell.setblocking(False)
        self._rung, self._stopped, self._opened = False, Event(), Event()
        self._old = False  # whether the broker knows MQTT 3.1.1 only
        self._info: LinkInfo | None = None
        self._error: LinkError | None = None  # of the first attempt
        self._change = Condition()  # of what follows
        self._up, self._denied = False, frozenset[str]()
        self._wanted: frozenset[str] = frozenset()
        self._asked, self._settled = self._wanted, self._wanted
        self._thread: Thread | None = None

    # the agent's side

    def start(self, will: bytes) -> LinkInfo:
        """Open the first link; LinkError where it cannot be had."""
        self._ends = replace(self._ends, will=will)
        self._opened.clear()
        self._thread = Thread(target=self._run, name=f"edgekit {self._ends.client_id}", daemon=True)
        self._thread.start()
        self._opened.wait()
        if self._info is None:
            raise self._error or LinkError(f"{self._ends.address}: closed before there was a link")
        return self._info

    def stop(self) -> None:
        """Send what waits, within 2 s, and take leave."""
        self._stopped.set()
        self._ring()
        if self._thread is not None:
            self._thread.join(FAREWELL + TURN)
            self._thread = None

    def listen(self, topics: frozenset[str]) -> None:
        """Hear these topics beside those of every agent, on this link and the next; LinkError where one is denied."""
        with self._change:
            self._wanted = topics
        self._ring()
        with self._change:
            self._change.wait_for(lambda: not self._up or self._settled is topics, PATIENCE)
            denied, self._denied = sorted(self._denied), frozenset()
            if denied:
                self._wanted = topics - frozenset(denied)
                raise refusal.forbidden(self._ends.address, self._ends.topics.me, f"hear {denied[0]}")

    def make_room(self, size: int) -> None:
        """Let so many bytes of frames wait to be read."""
        self._room = self.inbox.limit = max(self._room, size)

    def raise_refusal(self) -> None:
        """Say once that the broker did not take something."""
        if self._refusal is not None:
            error, self._refusal = self._refusal, None
            raise error

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            try:
                self._bell.send(b"\0")
            except OSError:  # full: it rings already; closed: the loop has ended
                return

    # the thread's side

    def _run(self) -> None:
        try:
            self._keep_linked()
        finally:
            self._opened.set()

    def _keep_linked(self) -> None:
        delays = _delays()
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._live()
            except LinkError as error:
                self._error, self.trouble = error, str(error)
            except Exception as error:  # whatever it is, the agent must not wait for a thread that is no more
                _log.exception("%s: the link was given up", self._ends.address)
                self._error, self.trouble = LinkError(f"{self._ends.address}: {error}"), str(error)
            if self._info is None:
                return
            if time.monotonic() - began > STEADY:
                delays = _delays()
            self._stopped.wait(next(delays))

    def _live(self) -> None:
        """One link, from its opening to its end."""
        link = connected(self._make, old=self._old)
        if self._info is None:
            self._old = link.protocol == V311
        try:
            asked = self._wanted
            info = proven(link, asked, self._largest, first=self._info is None)
            self._begin(info, asked)
            while not self._stopped.is_set():
                self._pass_on(link)
                link.turn(TURN)
            self._take_leave(link)
        finally:
            link.close()
            self._end()

    def _make(self, protocol: MQTTProtocolVersion) -> Link:
        return Link(
            self._ends,
            protocol,
            self._wake,
            hear=self._hear,
            acknowledged=self.outbox.release,
            refused=self._refuse,
        )

    def _begin(self, info: LinkInfo, asked: frozenset[str]) -> None:
        """Tell the agent of the link before all that came over it, and send its documents."""
        again, self._info = self._info is not None, self._info or info
        self.outbox.open()
        with self._change:
            self._up, self._asked, self._settled = True, asked, asked
        if again:
            self.inbox.put(Message("link", name="up"))
        while (message := self._heard.take(0)) is not None:
            self.inbox.put(message)
        self._heard, self.trouble = self.inbox, ""
        self._opened.set()

    def _end(self) -> None:
        self.outbox.shut()
        self._heard = Inbox(self._room)
        with self._change:
            was, self._up = self._up, False
            self._change.notify_all()
        if was and not self._stopped.is_set():
            self.inbox.put(Message("link", name="down"))

    def _pass_on(self, link: Link) -> None:
        """Give the link what waits, as far as it goes out at once."""
        self._rung = False  # before looking: who adds something later rings again
        waiting = self.outbox.waiting
        while waiting and link.ready:
            link.post(waiting.popleft())
        if self._wanted is not self._asked:
            self._ask(link)
        if self._settled is not self._asked and not link.asks:
            self._settle(link)

    def _ask(self, link: Link) -> None:
        wanted = self._wanted
        link.unsubscribe(sorted(self._asked - wanted))
        link.subscribe(sorted(wanted - self._asked))
        self._asked = wanted

    def _settle(self, link: Link) -> None:
        with self._change:
            self._settled, self._denied, link.denied = self._asked, link.denied, frozenset()
            self._change.notify_all()

    def _take_leave(self, link: Link) -> None:
        end = time.monotonic() + FAREWELL
        while (self.outbox.waiting or not link.idle) and time.monotonic() < end:
            self._pass_on(link)
            link.turn(0.05)

    def _hear(self, topic: str, payload: bytes | bytearray, retained: bool) -> None:
        known = self._places.get(topic) or self._place(topic)
        if known is None:
            return
        what, sender, name = known
        if what == "document" or not retained:  # a retained frame is of another time
            self._heard.put(Message(what, sender, name, payload if what == "frame" else bytes(payload)))

    def _place(self, topic: str) -> tuple[What, str, str] | None:
        """What a topic says, remembered."""
        place = self._ends.topics.read(topic)
        if place is None:
            return None
        if len(self._places) >= KNOWN:
            self._places.clear()
        what: What = "document" if place.kind == "doc" else "line" if place.kind == "line" else "frame"
        self._places[topic] = found = (what, place.sender, place.name)
        return found

    def _refuse(self, error: LinkError) -> None:
        self._refusal = error


def _delays() -> Iterator[float]:
    chance = Random()  # its own: a run may have seeded the common one, alike in all agents
    delay = FIRST_DELAY
    while True:
        yield delay * chance.uniform(0.5, 1)
        delay = min(2 * delay, LAST_DELAY)
