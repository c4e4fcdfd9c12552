"""The transport over an MQTT broker."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Collection
from typing import Final

from edgekit.wire.address import Address, refuse_plain
from edgekit.wire.link import KEEPALIVE, Ends
from edgekit.wire.loop import Loop
from edgekit.wire.topics import Topics
from edgekit.wire.transport import WATCHERS, LinkInfo, Message

LARGEST: Final = 256 << 10  # bytes of a frame, where the broker takes as many
WINDOW: Final = 4 << 20  # bytes of frames that the broker has not acknowledged
INBOX: Final = 64 << 20  # bytes of frames and lines that wait to be read


class MqttTransport:
    """An agent's end of an MQTT broker.

    `tls` as `Credentials.tls` gives it, by default with the authorities that this machine trusts. largest: bytes of a
    frame at most; window: bytes of frames under way; inbox: bytes of frames that wait to be read, the newest;
    keepalive: seconds, twice of which a link without a sign of life is given up after.
    BadInput where frames would leave this machine in the clear, and it is not `insecure`.
    """

    def __init__(
        self,
        address: Address,
        run: str,
        me: str,
        *,
        tls: ssl.SSLContext | None = None,
        insecure: bool = False,
        largest: int = LARGEST,
        window: int = WINDOW,
        inbox: int = INBOX,
        keepalive: int = KEEPALIVE,
    ) -> None:
        refuse_plain(address, insecure)
        self._topics = Topics(run, me)
        ends = Ends(address, self._topics, f"ek-{me}-{secrets.token_hex(4)}", tls, keepalive)
        self._loop = Loop(ends, largest=largest, window=window, inbox=inbox)
        self._inbox, self._outbox, self._largest = self._loop.inbox, self._loop.outbox, largest

    @property
    def me(self) -> str:
        """The id of this agent."""
        return self._topics.me

    @property
    def trouble(self) -> str:
        """Why there is no link; "" where there is one."""
        return self._loop.trouble

    @property
    def lost(self) -> int:
        """Frames and lines that came and were never read, for want of room."""
        return self._inbox.lost

    def open(self, will: bytes) -> LinkInfo:
        """Connect, and see that the broker lets this agent do its work; LinkError where it does not."""
        info = self._loop.start(will)
        self._largest = info.largest
        return info

    def listen(self, senders: Collection[str], *, lines: bool = False) -> None:
        """Hear these, from the next frame on; LinkError where the broker denies it."""
        self._loop.listen(self._topics.listen(senders, lines=lines))

    def make_room(self, size: int) -> None:
        """Let so many bytes wait, over this link and the next."""
        self._loop.make_room(size)

    def send(self, payload: bytes, to: str | None = None) -> bool:
        """Hand a frame or a line to the loop; LinkError where the broker did not take an earlier one."""
        if len(payload) > self._largest:
            raise ValueError(f"{len(payload):,} bytes do not fit a frame of {self._largest:,}")
        self._loop.raise_refusal()
        if to is None:
            return self._outbox.send(self._topics.out, payload, 1)
        if to == WATCHERS:
            return self._outbox.send(self._topics.line, payload, 0)
        return self._outbox.send(self._topics.to(to), payload, 1)

    def publish(self, name: str, document: bytes | None) -> None:
        """Set or withdraw a document, now and on all links to come."""
        self._loop.raise_refusal()
        self._outbox.publish(self._topics.document(name), document or b"")

    def receive(self, timeout: float) -> Message | None:
        """The next message, or None."""
        return self._inbox.take(timeout)

    def close(self) -> None:
        """Send what waits, within 2 s, and leave without the will."""
        self._loop.stop()
