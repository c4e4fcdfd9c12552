"""One connection to a broker over paho; all of it belongs to one thread."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgekit.wire import refusal
from edgekit.wire.address import Address
from edgekit.wire.outbox import Post
from edgekit.wire.paho_client import PahoClient
from edgekit.wire.topics import Topics
from edgekit.wire.transport import STATE, LinkError

KEEPALIVE: Final = 15  # seconds: a link without a sign of life is given up after twice as long
UNDER_WAY: Final = 1000  # messages that are not acknowledged, where the broker names no lower limit
LARGEST_PACKET: Final = 64 << 20  # bytes that are taken in
TURN: Final = 1.0  # seconds after which paho must look at its clock
V5: Final = MQTTProtocolVersion.MQTTv5
V311: Final = MQTTProtocolVersion.MQTTv311

Hear = Callable[[str, bytes | bytearray, bool], None]


class Lost(LinkError):
    """A link that was there, and is no more."""


@dataclass(frozen=True)
class Ends:
    """What all links of a transport have in common: the broker, the agent, and what it leaves behind."""

    address: Address
    topics: Topics
    client_id: str
    tls: ssl.SSLContext | None
    keepalive: int = KEEPALIVE
    will: bytes = b""


class Link:
    """A connection: `turn` waits for something to happen, and calls what was given.

    hear(topic, payload, retained): a message came. acknowledged(size): a post no longer takes `size` of the window.
    refused(error): the broker does not take a post. A byte on the socket `wake` ends a wait.
    """

    def __init__(
        self,
        ends: Ends,
        protocol: MQTTProtocolVersion,
        wake: socket.socket,
        *,
        hear: Hear,
        acknowledged: Callable[[int], None],
        refused: Callable[[LinkError], None],
    ) -> None:
        self.ends, self.protocol = ends, protocol
        self.acknowledged, self.refused = acknowledged, refused
        self.answer: tuple[ReasonCode, Properties | None] | None = None  # to CONNECT
        self.trouble = ""  # what the socket said last
        self.denied: frozenset[str] = frozenset()  # topics that the broker does not let this agent hear
        self._wake, self._selector, self._writes, self._turned = wake, DefaultSelector(), False, 0.0
        self._under_way: dict[int, tuple[int, str]] = {}  # (size, topic) by packet id
        self._most = UNDER_WAY
        self._asked: dict[int, list[str]] = {}  # topics by packet id, until the broker answers
        self._gone: str | None = None
        self._client = self._make()
        self._client.hear = hear

    def connect(self) -> None:
        """Connect, and ask to be let in: `answer` comes within the next turns. OSError where there is no connection."""
        address, client = self.ends.address, self._client
        more: dict[str, Any] = {}
        if self.protocol == V5:
            limits = Properties(PacketTypes.CONNECT)
            limits.MaximumPacketSize = LARGEST_PACKET
            more = {"clean_start": True, "properties": limits}
        client.connect(address.host, address.port, self.ends.keepalive, **more)
        self._selector.register(self._wake, EVENT_READ)
        if (connection := client.socket()) is not None:
            self._selector.register(connection, EVENT_READ)

    def close(self) -> None:
        """Take leave, so that there is no will."""
        with suppress(OSError):
            self._client.disconnect()
        self._selector.close()

    @property
    def hear(self) -> Hear:
        """What is called for each message."""
        return self._client.hear

    @hear.setter
    def hear(self, hear: Hear) -> None:
        self._client.hear = hear

    @property
    def ready(self) -> bool:
        """Whether a post would go out at once."""
        return len(self._under_way) < self._most and not self._client.want_write()

    @property
    def asks(self) -> bool:
        """Whether topics were asked for that the broker has not answered."""
        return bool(self._asked)

    @property
    def idle(self) -> bool:
        """Whether all that was posted has arrived."""
        return not (self._under_way or self._asked or self._client.want_write())

    def post(self, post: Post) -> None:
        """Send a message."""
        mid = self._client.publish(post.topic, post.payload, post.qos, post.retain).mid
        if post.qos:
            self._under_way[mid] = post.size, post.topic
        elif post.size:
            self.acknowledged(post.size)

    def subscribe(self, topics: list[str]) -> None:
        """Ask to hear these topics too."""
        if not topics:
            return
        quality: Any = SubscribeOptions(qos=1) if self.protocol == V5 else 1
        _, mid = self._client.subscribe([(topic, quality) for topic in topics])
        if mid is not None:
            self._asked[mid] = topics

    def unsubscribe(self, topics: list[str]) -> None:
        """No longer hear these topics."""
        if topics:
            self._client.unsubscribe(topics)

    def quieten(self) -> None:
        """No longer keep `trouble`, for which every message is looked at."""
        self._client.on_log = None

    def turn(self, timeout: float) -> None:
        """Wait until something happens, and deal with it; Lost where the link is gone."""
        client, waiting = self._client, self._tls_holds_some()
        if client.want_write() is not self._writes:
            self._watch_writes()
        for key, events in self._selector.select(0 if waiting else min(timeout, TURN)):
            if key.fileobj is self._wake:
                self._wake.recv(64)
                continue
            waiting = waiting or bool(events & EVENT_READ)
            if events & EVENT_WRITE:
                client.loop_write()
        if waiting:
            client.loop_read()
        if (now := time.monotonic()) > self._turned + TURN:
            self._turned = now
            client.loop_misc()
        if self._gone is not None:
            raise Lost(f"{self.ends.address}: {self._gone}")

    def until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Turn until something is so, or time is up; whether it is so."""
        end = time.monotonic() + seconds
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.turn(left)
        return True

    def _make(self) -> PahoClient:
        ends, address = self.ends, self.ends.address
        client = PahoClient(
            CallbackAPIVersion.VERSION2,
            ends.client_id,
            clean_session=None if self.protocol == V5 else True,
            protocol=self.protocol,
            transport="websockets" if address.websocket else "tcp",
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)  # none: `ready` keeps it, so that nothing waits within paho
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.websocket:
            client.ws_set_options(path=address.path)
        if address.tls:
            client.tls_set_context(ends.tls or ssl.create_default_context())
        client.will_set(ends.topics.document(STATE), ends.will, qos=1, retain=True)
        client.on_socket_open, client.on_log = _send_at_once, self._on_log
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe, client.on_publish = self._on_subscribe, self._on_publish
        client.on_message = self._on_message
        return client

    def _tls_holds_some(self) -> bool:
        """Whether bytes came that the selector does not see."""
        pending = getattr(self._client.socket(), "pending", None)
        return pending is not None and pending() > 0

    def _watch_writes(self) -> None:
        self._writes = not self._writes
        if (connection := self._client.socket()) is not None:
            self._selector.modify(connection, EVENT_READ | EVENT_WRITE if self._writes else EVENT_READ)

    # what paho calls

    def _on_connect(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.answer = reason, properties
        self._most = min(UNDER_WAY, getattr(properties, "ReceiveMaximum", UNDER_WAY))

    def _on_disconnect(
        self,
        client: Client,
        _: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._gone = f"the link was lost ({str(reason).lower()})"

    def _on_subscribe(
        self, client: Client, _: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        topics = self._asked.pop(mid, [])
        given = zip(topics, reasons, strict=False)
        heard = frozenset(topic for topic, reason in given if not reason.is_failure)
        self.denied |= frozenset(topics) - heard

    def _on_publish(
        self, client: Client, _: Any, mid: int, reason: ReasonCode, properties: Properties
    ) -> None:
        size, topic = self._under_way.pop(mid, (0, ""))  # a message of quality 0 is not there
        if reason.is_failure:
            self.refused(refusal.not_taken(self.ends.address, topic, reason))
        if size:
            self.acknowledged(size)

    def _on_message(self, client: Client, _: Any, message: MQTTMessage) -> None:
        with suppress(UnicodeDecodeError):  # no topic of ours
            self._client.hear(message.topic, bytes(message.payload), message.retain)

    def _on_log(self, client: Client, _: Any, level: int, text: str) -> None:
        if level in (LogLevel.MQTT_LOG_ERR, LogLevel.MQTT_LOG_WARNING):
            self.trouble = text


def _send_at_once(client: Client, _: Any, connection: Any) -> None:
    """Small packets do not wait for others; the option belongs to the connection, not to its wrapper."""
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
