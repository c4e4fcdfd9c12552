"""One connection to a broker, driven by hand: a check asks one thing, and waits for what comes of it."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgekit.wire.address import Address
from edgekit.wire.credentials import Credentials

PATIENCE: Final = 5.0  # seconds
OTHER_VERSION: Final = 132  # the reason of a broker that does not speak MQTT 5
REFUSED: Final = 128  # reasons from here on
DENIED: Final = 135  # the reason of an access list
NO_LIMIT: Final = 2**28  # bytes: what MQTT itself can carry in a packet


class NoAnswer(Exception):
    """The broker closed the connection, or said nothing in time."""


@dataclass(frozen=True)
class Welcome:
    """How a broker received a client: `reason` 0, or why not; the `largest` packet it takes; its version of MQTT."""

    reason: int
    said: str
    largest: int = NO_LIMIT
    version: str = "5"


class Probe:
    """A client for one thing to try; `heard` is all that came, in order. With `slow`, nothing is acknowledged."""

    def __init__(self, address: Address, credentials: Credentials, *, slow: bool = False) -> None:
        self.address, self.credentials, self.slow = address, credentials, slow
        self.heard: list[MQTTMessage] = []
        self._answers: dict[int, list[int]] = {}
        self._welcome: Welcome | None = None
        self._down = False
        self._version, self._client = "5", self._made(MQTTv5)

    def __enter__(self) -> Probe:
        if (welcome := self.open()).reason:
            raise NoAnswer(welcome.said)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Welcome:
        """Connect, with MQTT 5 or else 3.1.1; NoAnswer where no broker answers."""
        welcome = self._greet()
        if welcome.reason == OTHER_VERSION:
            self.close()
            self._version, self._client = "3.1.1", self._made(MQTTv311)
            welcome = self._greet()
        return welcome

    def subscribe(self, *topics: str) -> list[int]:
        """Ask for topics; the broker's reason for each."""
        _, number = self._client.subscribe([(topic, 1) for topic in topics])
        return self._answer(number)

    def post(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Send a message without waiting; its number."""
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Send a message; the broker's reason: below REFUSED it is let through, as MQTT 3.1.1 always says."""
        return self._answer(self.post(topic, payload, retain=retain))[0]

    def answered(self, numbers: Collection[int]) -> bool:
        """Whether the broker has answered to all of these messages."""
        return self._answers.keys() >= set(numbers)

    def wait(self, done: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Let messages come until `done`; NoAnswer where that takes too long."""
        end = time.monotonic() + patience
        while not done():
            if self._down or time.monotonic() > end:
                raise NoAnswer("it closed the connection" if self._down else f"nothing in {patience:.0f} s")
            self._down = self._client.loop(0.05) != 0 or self._down

    def wait_for(self, count: int, patience: float = PATIENCE) -> None:
        """Wait until so many messages have come."""
        self.wait(lambda: len(self.heard) >= count, patience)

    def hears(self, topic: str, patience: float = 0.0) -> bool:
        """Whether a message came on this topic, or comes in time."""

        def there() -> bool:
            return any(message.topic == topic for message in self.heard)

        with contextlib.suppress(NoAnswer):
            self.wait(there, patience)
        return there()

    def acknowledge(self, message: MQTTMessage) -> None:
        """Say that a message came, where `slow` did not."""
        self._client.ack(message.mid, message.qos)

    def close(self) -> None:
        """Leave."""
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()

    def _made(self, version: Any) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"edgekit-check-{secrets.token_hex(4)}",  # that of an agent would throw it out
            protocol=version,
            transport="websockets" if self.address.websocket else "tcp",
            manual_ack=self.slow,
        )
        if self.address.websocket:
            client.ws_set_options(self.address.path)
        if self.address.tls:
            client.tls_set_context(self.credentials.tls())
        user = self.address.user or self.credentials.user
        if user is not None:
            client.username_pw_set(user, self.address.password or self.credentials.password)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_subscribe = self._on_publish, self._on_subscribe
        client.on_message, client.on_socket_open = self._on_message, _no_delay
        return client

    def _greet(self) -> Welcome:
        self._welcome, self._down = None, False
        try:
            self._client.connect(self.address.host, self.address.port, **self._fresh())
        except (OSError, ValueError) as error:  # paho's WebsocketConnectionError is an OSError
            raise NoAnswer(str(error) or type(error).__name__) from error
        self.wait(lambda: self._welcome is not None)
        assert self._welcome is not None, "waited for"
        return self._welcome

    def _fresh(self) -> dict[str, Any]:
        if self._version != "5":
            return {}
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0
        return {"clean_start": True, "properties": properties}

    def _answer(self, number: int | None) -> list[int]:
        self.wait(lambda: number in self._answers)
        return self._answers.pop(number or 0)

    def _on_connect(self, _1: Any, _2: Any, _3: Any, reason: Any, properties: Any) -> None:
        largest = getattr(properties, "MaximumPacketSize", NO_LIMIT)
        self._welcome = Welcome(reason.value, str(reason), largest, self._version)

    def _on_disconnect(self, *_: Any) -> None:
        self._down = True

    def _on_publish(self, _1: Any, _2: Any, number: int, reason: Any, _3: Any) -> None:
        self._answers[number] = [reason.value]

    def _on_subscribe(self, _1: Any, _2: Any, number: int, reasons: Any, _3: Any) -> None:
        self._answers[number] = [reason.value for reason in reasons]

    def _on_message(self, _1: Any, _2: Any, message: MQTTMessage) -> None:
        self.heard.append(message)


def _no_delay(_1: Any, _2: Any, opened: Any) -> None:
    """Small packets go at once: Nagle's algorithm waits 40 ms for more."""
    with contextlib.suppress(AttributeError, OSError):  # a websocket hides its socket
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
