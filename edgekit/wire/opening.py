"""Opening a link: the version that the broker knows, what it carries, and whether it lets an agent do its work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from paho.mqtt.enums import MQTTProtocolVersion

from edgekit.wire import refusal
from edgekit.wire.link import V5, V311, Link, Lost
from edgekit.wire.outbox import Post
from edgekit.wire.transport import LinkError, LinkInfo

PATIENCE: Final = 10.0  # seconds for an answer
BRIEF: Final = 3.0  # seconds for one to MQTT 5, of which some old brokers make nothing
SLOWEST: Final = 16_000  # bytes a second at which a frame is awaited
OVERHEAD: Final = 16  # bytes of a packet beside topic and payload, at most
VERSION: Final = "$SYS/broker/version"


class _OtherVersion(LinkError):
    """The broker does not know this version of MQTT."""


def connected(make: Callable[[MQTTProtocolVersion], Link], *, old: bool) -> Link:
    """A link in MQTT 5, or in 3.1.1 where the broker is `old` or knows no other; LinkError where there is none."""
    if not old:
        with suppress(_OtherVersion):
            return _let_in(make(V5))
    return _let_in(make(V311))


def proven(link: Link, topics: Iterable[str], largest: int, *, first: bool) -> LinkInfo:
    """Subscribe, and see that what this agent sends to itself comes back; LinkError where it does not.

    Where the broker does not say what it carries, the `first` link tries `largest` bytes.
    """
    trial = _Trial(link)
    wanted = [*link.ends.topics.always, *topics]
    link.subscribe([*wanted, VERSION])
    if not link.until(lambda: not link.asks, PATIENCE):
        raise Lost(f"{link.ends.address}: no answer to SUBSCRIBE in {PATIENCE:.0f} s")
    if denied := sorted(link.denied - {VERSION}):
        raise refusal.forbidden(link.ends.address, link.ends.topics.me, f"hear {denied[0]}")
    trial.frame(b"")
    limit = None if link.answer is None else getattr(link.answer[1], "MaximumPacketSize", None)
    if limit is not None:
        largest = min(largest, limit - OVERHEAD - len(link.ends.topics.to("x" * 64)))
    elif first:
        trial.large(largest)
    trial.end()
    return LinkInfo(largest, f"{trial.broker}, MQTT {'5' if link.protocol == V5 else '3.1.1'}")


def _let_in(link: Link) -> Link:
    """Connect and await the answer; the link, or none that is left open."""
    try:
        link.connect()
        _await_answer(link)
        return link
    except OSError as error:
        link.close()
        raise refusal.unreached(error, link.ends.address) from error
    except LinkError:
        link.close()
        raise


def _await_answer(link: Link) -> None:
    address = link.ends.address
    try:
        if not link.until(lambda: link.answer is not None, BRIEF if link.protocol == V5 else PATIENCE):
            raise _OtherVersion("") if link.protocol == V5 else refusal.silent(address, PATIENCE)
    except Lost as error:
        if link.answer is None and link.protocol == V5:
            raise _OtherVersion("") from error
        if link.answer is None:
            raise refusal.hung_up(address, link.trouble, link.ends.tls) from error
    reason = link.answer[0] if link.answer else None
    if reason is not None and reason.is_failure:
        if link.protocol == V5 and reason.value == refusal.OTHER_VERSION:
            raise _OtherVersion("")
        raise refusal.refused(address, reason)


class _Trial:
    """What a link says of itself while it opens; all else goes its way."""

    def __init__(self, link: Link) -> None:
        self.link, self.broker = link, "a broker"
        self._address, self._me = link.ends.address, link.ends.topics.me
        self._topic = link.ends.topics.to(self._me)
        self._came: int | None = None
        self._no: LinkError | None = None
        self._hear, self._refused = link.hear, link.refused
        link.hear, link.refused = self._listen, self._refuse

    def frame(self, payload: bytes) -> None:
        """Send a frame to this agent itself, and see it come back."""
        self._came = None
        self.link.post(Post(self._topic, payload, 1))
        seconds = PATIENCE + len(payload) / SLOWEST
        self.link.until(lambda: self._came == len(payload) or self._no is not None, seconds)
        if self._no is not None:
            raise self._no
        if self._came is None:
            raise refusal.forbidden(self._address, self._me, f"send and hear {self._topic}")

    def large(self, size: int) -> None:
        """See that a frame of this size comes back."""
        try:
            self.frame(bytes(size))
        except LinkError as error:
            raise refusal.too_large(self._address, size) from error

    def end(self) -> None:
        """From here on the link is in use."""
        self.link.hear, self.link.refused = self._hear, self._refused
        self.link.quieten()

    def _listen(self, topic: str, payload: bytes | bytearray, retained: bool) -> None:
        if topic == self._topic:
            self._came = len(payload)
        elif topic == VERSION:
            self.broker = _name(payload)
        else:
            self._hear(topic, payload, retained)

    def _refuse(self, error: LinkError) -> None:
        self._no = error


def _name(version: bytes | bytearray) -> str:
    """What a broker says of itself, such as "mosquitto version 2.0.11", in short."""
    text = version.decode("utf-8", "replace").replace(" version", "")
    return "".join(letter for letter in text if letter.isprintable())[:64]
