"""The short way for what comes in is the same as paho's long one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgekit.wire.paho_client import PahoClient

VERSIONS = [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5]


class Silent:
    """A socket that holds what was received, and takes all that is sent."""

    def __init__(self, incoming: bytes) -> None:
        self.incoming, self.sent = incoming, b""

    def recv(self, size: int) -> bytes:
        if not self.incoming:
            raise BlockingIOError
        taken, self.incoming = self.incoming[:size], self.incoming[size:]
        return taken

    def send(self, data: bytes) -> int:
        self.sent += bytes(data)
        return len(data)

    def close(self) -> None:
        pass


def heard(kind: type[Client], version: MQTTProtocolVersion, packet: bytes) -> tuple[list, bytes, int]:
    """What a client makes of a packet: what it hears, what it answers, and its code."""
    client, came = kind(CallbackAPIVersion.VERSION2, "me", protocol=version), []
    client.hear = lambda topic, payload, retained: came.append((topic, payload, retained))
    client.on_message = lambda _, __, message: came.append(
        (message.topic, bytes(message.payload), bool(message.retain))
    )
    client._sock = connection = Silent(packet)
    code = client.loop_read()
    client._sock = None
    return came, connection.sent, int(code)


def publish(version, topic: bytes, payload: bytes, quality: int, retain: bool, properties: bytes) -> bytes:
    body = struct.pack("!H", len(topic)) + topic
    body += b"\x01\x02" if quality else b""
    body += properties if version == MQTTProtocolVersion.MQTTv5 else b""
    return fixed(0x30 | quality << 1 | retain, body + payload)


def fixed(first: int, body: bytes) -> bytes:
    length, rest = b"", len(body)
    while True:
        rest, digit = rest >> 7, rest & 127
        length += bytes([digit | (128 if rest else 0)])
        if not rest:
            return bytes([first]) + length + body


def with_properties() -> bytes:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = ("a", "b" * 200)
    return properties.pack()


@pytest.mark.parametrize("version", VERSIONS)
@settings(deadline=None)
@given(
    topic=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40),
    payload=st.binary(max_size=3000),
    quality=st.sampled_from([0, 1]),
    retain=st.booleans(),
    properties=st.sampled_from([b"\0", with_properties()]),
)
def test_both_hear_the_same(version, topic, payload, quality, retain, properties):
    packet = publish(version, topic.encode(), payload, quality, retain, properties)
    came, sent, code = heard(PahoClient, version, packet)
    assert came == [(topic, payload, retain)]
    assert sent == (b"\x40\x02\x01\x02" if quality else b"")
    assert (came, sent, code) == heard(Client, version, packet)


@pytest.mark.parametrize("version", VERSIONS)
@settings(deadline=None)
@given(body=st.binary(max_size=60), first=st.integers(0x30, 0x35))
def test_both_take_what_is_malformed_alike(version, body, first):
    packet = fixed(first, body)
    results = []
    for kind in (PahoClient, Client):
        try:
            results.append(heard(kind, version, packet))
        except UnicodeDecodeError:  # on_message asks for the topic
            results.append("no topic")
    assert results[0] == results[1] or results[1] == "no topic" or not results[0][0]


def test_where_paho_is_another_it_goes_its_own_way(monkeypatch):
    version = MQTTProtocolVersion.MQTTv5
    packet = publish(version, b"topic", b"payload", 1, False, b"\0")
    monkeypatch.delattr(Client, "_send_puback")
    asked = []
    monkeypatch.setattr(Client, "_handle_publish", lambda self: asked.append(1) or 0)
    assert heard(PahoClient, version, packet)[0] == []
    assert asked == [1]
