"""The agents of the kit of transports, and what they hear."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from edgekit.errors import BadInput
from edgekit.testing.row import fail
from edgekit.wire.transport import LinkInfo, Message, Transport

WILL = b"lost"
PROBE = b"probe"
QUIET = 0.2  # seconds without a message after which none is expected


class Kit:
    """Agents for the checks, and how long to wait for what they send."""

    def __init__(self, make: Callable[[str], Transport], patience: float) -> None:
        self.make, self.patience = make, patience
        self.info = LinkInfo(0, "")  # of whoever opened last
        self._made = 0

    @contextmanager
    def agents(self, count: int) -> Iterator[list[Transport]]:
        """So many open agents of new ids."""
        agents: list[Transport] = []
        try:
            for _ in range(count):
                self._made += 1
                agents.append(self.make(f"kit-{self._made}"))
                self.info = agents[-1].open(WILL)
            yield agents
        finally:
            for agent in agents:
                agent.close()

    def until(self, agent: Transport, wanted: Callable[[Message], bool], what: str) -> list[Message]:
        """Everything up to the message that is wanted; the patience begins anew with each that comes."""
        heard: list[Message] = []
        while (message := agent.receive(self.patience)) is not None:
            heard.append(message)
            if wanted(message):
                return heard
        raise BadInput(f"{what} did not come within {self.patience:g} s")

    def until_frame(self, agent: Transport, payload: bytes, what: str) -> list[Message]:
        """Everything up to a frame."""
        return self.until(agent, lambda message: (message.what, message.payload) == ("frame", payload), what)

    def until_document(self, agent: Transport, sender: Transport, name: str, value: bytes) -> list[Message]:
        """Everything up to a document."""
        wanted = Message("document", sender.me, name, value)
        return self.until(agent, lambda message: message == wanted, f"the document {name} = {value!r}")

    def until_link(self, agent: Transport, name: str) -> list[Message]:
        """Everything up to a link that is up or down."""
        wanted = lambda message: (message.what, message.name) == ("link", name)  # noqa: E731
        return self.until(agent, wanted, f"a link that is {name}")

    def meet(self, sender: Transport, listener: Transport) -> None:
        """Wait until frames to all go from one to the other: a broker may take a moment to know who listens."""
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            sender.send(PROBE)
            message = listener.receive(0.02)
            if message is not None and (message.sender, message.payload) == (sender.me, PROBE):
                return
        fail(f"no frame to all came within {self.patience:g} s to who listens")


def quiet(agent: Transport) -> list[Message]:
    """Everything until nothing comes for a while."""
    heard = []
    while (message := agent.receive(QUIET)) is not None:
        heard.append(message)
    return heard


def frames_of(messages: Iterable[Message], sender: Transport) -> list[bytes]:
    """The frames of a sender, repeats left out: a frame may come twice."""
    found = (message for message in messages if (message.what, message.sender) == ("frame", sender.me))
    return [
        payload for payload in dict.fromkeys(bytes(message.payload) for message in found) if payload != PROBE
    ]


def documents_of(messages: Iterable[Message], sender: Transport) -> list[tuple[str, bytes]]:
    """The documents of a sender, as (name, document), repeats left out."""
    found = (message for message in messages if (message.what, message.sender) == ("document", sender.me))
    return list(dict.fromkeys((message.name, bytes(message.payload)) for message in found))
