"""The contract of a transport, and the guide for whoever writes one.

A transport carries bytes between the agents of one run, who know each other by id. It knows nothing of rounds or
models. It is made for one run and one agent (`me`), and used from one thread.

- Frames are for those who listen to the sender, or for one agent. They may be lost while a link is down, and come
  twice; those of one sender come in order otherwise. Nothing is ever delivered that was not sent.
- Documents are small, and last: whoever opens later receives the newest of each (sender, name). An agent hears its own
  too, so that it notices a second one that uses its id.
- When an agent is lost without `close`, the document "state" becomes its `will`.
- Lines are for watchers, and may be lost.
- Memory is bounded: a receiver that does not read loses its oldest frames, never documents; a sender waits while too
  many bytes are under way.

`edgekit.testing.transport` is the kit that every transport passes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from edgekit.errors import BadInput, EdgekitError

WATCHERS: Final = "#"  # whom `send` names to reach all who watch
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
STATE: Final = "state"  # the document that a lost agent leaves behind

What = Literal["frame", "line", "document", "link"]


class LinkError(EdgekitError):
    """A link that cannot be had: no broker, wrong credentials, forbidden; the message says what to do."""


class Message(NamedTuple):
    """Something that came in.

    frame, line: `payload` from `sender`; that of a frame may be a bytearray, which is then the receiver's own.
    document: `payload` is the newest `name` of `sender`, b"" once it is withdrawn. link: `name` is "down" or "up";
    after "up" everything that is listened to is heard again, but frames in between are lost.
    """

    what: What
    sender: str = ""
    name: str = ""
    payload: bytes | bytearray = b""


@dataclass(frozen=True)
class LinkInfo:
    """What a link can do: `largest` payload of one `send` in bytes, and what is at the other end."""

    largest: int
    broker: str


class Transport(Protocol):
    """Carries bytes between the agents of a run."""

    @property
    def me(self) -> str:
        """The id of this agent."""
        ...

    def open(self, will: bytes) -> LinkInfo:
        """Connect; from here on documents and frames to `me` are received. LinkError where there is no link."""
        ...

    def listen(self, senders: Collection[str], *, lines: bool = False) -> None:
        """Receive what these agents send to all, and no one else's; with `lines` also everyone's lines."""
        ...

    def make_room(self, size: int) -> None:
        """Let so many bytes of frames wait to be read, where fewer could."""
        ...

    def send(self, payload: bytes, to: str | None = None) -> bool:
        """Send a frame to all who listen, or to one agent, or a line to WATCHERS; False where the link is down.

        Waits while too much is under way. ValueError above `LinkInfo.largest`.
        """
        ...

    def publish(self, name: str, document: bytes | None) -> None:
        """Set a document of this agent, or withdraw it; it is kept, and sent as soon as there is a link."""
        ...

    def receive(self, timeout: float) -> Message | None:
        """The next message, or None after `timeout` seconds."""
        ...

    def close(self) -> None:
        """Leave without the will; may be called twice."""
        ...


def check_id(value: str, what: str = "id") -> str:
    """An id as it is; BadInput where it cannot be one."""
    if not ID.fullmatch(value):
        raise BadInput(
            f"{what}: '{value}' cannot be an id. Use letters, digits, '.', '_' and '-', at most 64, such as cam-3."
        )
    return value
