"""The transport within one process: for tests, and the measure of what the others must do."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Final

from edgekit.errors import BadInput
from edgekit.wire.inbox import Inbox
from edgekit.wire.transport import STATE, WATCHERS, LinkError, LinkInfo, Message, check_id

LARGEST: Final = 1 << 20  # bytes of a frame, where a hub is given no other
INBOX: Final = 64 << 20  # bytes of frames and lines that wait for one agent


class MemoryHub:
    """The broker of one run, in this process.

    Tests break it: `cut` and `restore` the link of an agent, `stop` and `start` the broker.

    >>> hub = MemoryHub()
    >>> one, two = MemoryTransport(hub, "one"), MemoryTransport(hub, "two")
    >>> largest = one.open(b"lost").largest, two.open(b"lost").largest
    >>> two.listen(["one"])
    >>> one.send(b"hello")
    True
    >>> two.receive(1.0)
    Message(what='frame', sender='one', name='', payload=b'hello')
    """

    def __init__(self, run: str = "run", *, largest: int = LARGEST) -> None:
        self.info = LinkInfo(largest, f"memory, {run}")
        self.lock = threading.Lock()
        self._agents: list[MemoryTransport] = []  # that are open, also those without a link
        self._documents: dict[tuple[str, str], bytes] = {}
        self._running = True

    def cut(self, me: str) -> None:
        """Lose an agent without warning: its link goes down, and its will becomes its state."""
        with self.lock:
            for agent in self._of(me):
                agent.severed = True
                if agent.up:
                    agent.fall()
                    self.keep(me, STATE, agent.will)

    def restore(self, me: str) -> None:
        """Give an agent its link again."""
        with self.lock:
            agents = self._of(me)
            for agent in agents:
                agent.severed = False
            self._raise(agents)

    def stop(self) -> None:
        """The broker dies: all links go down, and what it kept is forgotten."""
        with self.lock:
            self._running = False
            self._documents.clear()
            for agent in self._agents:
                if agent.up:
                    agent.fall()

    def start(self) -> None:
        """The broker is there again, and so are all links that are not cut."""
        with self.lock:
            self._running = True
            self._raise(self._agents)

    # what transports call

    def enter(self, agent: MemoryTransport) -> None:
        """Take in who opens."""
        with self.lock:
            if not self._running:
                raise LinkError("memory: the broker is stopped. Start it: hub.start()")
            self._agents.append(agent)
            self._connect([agent])

    def leave(self, agent: MemoryTransport) -> None:
        """Let go who closes."""
        with self.lock:
            agent.up = False
            if agent in self._agents:
                self._agents.remove(agent)

    def carry(self, message: Message, to: str | None) -> None:
        """Deliver a frame or a line; the lock is held."""
        for agent in self._agents:
            if agent.up and agent.wants(message, to):
                agent.hear(message)

    def keep(self, sender: str, name: str, document: bytes) -> None:
        """Set a document, or withdraw it where it is b"", and tell everyone; the lock is held."""
        if document:
            self._documents[sender, name] = document
        else:
            self._documents.pop((sender, name), None)
        for agent in self._agents:
            if agent.up:
                agent.hear(Message("document", sender, name, document))

    def _of(self, me: str) -> list[MemoryTransport]:
        agents = [agent for agent in self._agents if agent.me == me]
        if not agents:
            raise BadInput(f"memory: no agent '{me}' is open.")
        return agents

    def _raise(self, agents: list[MemoryTransport]) -> None:
        back = [agent for agent in agents if self._running and not (agent.up or agent.severed)]
        for agent in back:
            agent.hear(Message("link", name="up"))
        self._connect(back)

    def _connect(self, agents: list[MemoryTransport]) -> None:
        """Their own documents first, so that each then hears all documents as they are, once."""
        for agent in agents:
            for name, document in agent.take_documents():
                self.keep(agent.me, name, document)
        for agent in agents:
            agent.up = True
            for (sender, name), document in self._documents.items():
                agent.hear(Message("document", sender, name, document))


class MemoryTransport:
    """An agent's end of a `MemoryHub`; `inbox` bytes of frames and lines wait for it at most, the newest."""

    def __init__(self, hub: MemoryHub, me: str, *, inbox: int = INBOX) -> None:
        self._hub, self._me, self._inbox = hub, check_id(me), Inbox(inbox)
        self._own: dict[str, bytes] = {}  # b"" for what is withdrawn, until the broker knows
        self._senders: frozenset[str] = frozenset()
        self._watches = False
        self.up, self.severed, self.will = False, False, b""

    @property
    def me(self) -> str:
        """The id of this agent."""
        return self._me

    @property
    def lost(self) -> int:
        """Frames and lines that came and were never read, for want of room."""
        return self._inbox.lost

    def open(self, will: bytes) -> LinkInfo:
        """Enter the hub; LinkError while it is stopped."""
        self.will = will
        self._hub.enter(self)
        return self._hub.info

    def listen(self, senders: Collection[str], *, lines: bool = False) -> None:
        """Hear these, from the next frame on."""
        with self._hub.lock:
            self._senders, self._watches = frozenset(senders), lines

    def make_room(self, size: int) -> None:
        """Let so many bytes wait."""
        self._inbox.limit = max(self._inbox.limit, size)

    def send(self, payload: bytes, to: str | None = None) -> bool:
        """Deliver at once, so that nothing is ever under way."""
        if len(payload) > self._hub.info.largest:
            raise ValueError(f"{len(payload):,} bytes do not fit a frame of {self._hub.info.largest:,}")
        message = Message("line" if to == WATCHERS else "frame", self._me, payload=bytes(payload))
        with self._hub.lock:
            if self.up:
                self._hub.carry(message, to)
            return self.up

    def publish(self, name: str, document: bytes | None) -> None:
        """Set or withdraw a document, now or as soon as there is a link."""
        with self._hub.lock:
            self._own[name] = document or b""
            if self.up:
                self._hub.keep(self._me, name, self._own[name])
                self._forget_withdrawn()

    def receive(self, timeout: float) -> Message | None:
        """The next message, or None."""
        return self._inbox.take(timeout)

    def close(self) -> None:
        """Leave the hub; documents stay."""
        self._hub.leave(self)

    # what the hub calls, its lock held

    def wants(self, message: Message, to: str | None) -> bool:
        """Whether a frame or line is for this agent."""
        if to is None:
            return message.sender in self._senders
        return self._watches if to == WATCHERS else to == self._me

    def hear(self, message: Message) -> None:
        """Take a message in."""
        self._inbox.put(message)

    def fall(self) -> None:
        """The link goes down."""
        self.up = False
        self.hear(Message("link", name="down"))

    def take_documents(self) -> list[tuple[str, bytes]]:
        """The own documents, for a broker that may know none of them."""
        documents = list(self._own.items())
        self._forget_withdrawn()
        return documents

    def _forget_withdrawn(self) -> None:
        self._own = {name: document for name, document in self._own.items() if document}
