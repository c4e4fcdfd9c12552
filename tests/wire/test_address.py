"""Addresses of brokers as one writes them, and when they are too open."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import BadInput
from edgekit.wire import address
from edgekit.wire.address import Address, refuse_plain

WORDS = st.text(min_size=1, max_size=20)


def test_its_example_runs():
    assert doctest.testmod(address).failed == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("broker.local", Address("mqtt", "broker.local", 1883)),
        (" 10.0.0.5:2883 ", Address("mqtt", "10.0.0.5", 2883)),
        ("mqtts://broker.local", Address("mqtts", "broker.local", 8883)),
        ("ws://broker.local", Address("ws", "broker.local", 80, "/mqtt")),
        ("wss://broker.local/", Address("wss", "broker.local", 443, "/mqtt")),
        ("wss://broker.local:9001/a/b", Address("wss", "broker.local", 9001, "/a/b")),
        ("mqtt://[::1]:1884", Address("mqtt", "::1", 1884)),
        ("mqtt://cam-1@host", Address("mqtt", "host", 1883, user="cam-1")),
        ("mqtt://a%40b:p%2F%3F%23@host", Address("mqtt", "host", 1883, user="a@b", password="p/?#")),
        ("mqtt://:secret@host", Address("mqtt", "host", 1883, password="secret")),
    ],
)
def test_what_a_text_means(text, expected):
    assert Address.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mqt://host", "Did you mean 'mqtt'"),
        ("http://host", "Known: mqtt, mqtts, ws, wss"),
        ("mqtt://host:99999", "1 to 65535"),
        ("mqtt://host:0", "0 is no port"),
        ("mqtt://", "host is missing"),
        ("", "host is missing"),
        ("mqtt://host/topic", "only ws:// and wss:// have a path"),
        ("mqtt://a:b#c@host", "%23"),
    ],
)
def test_what_is_no_address(text, said):
    with pytest.raises(BadInput, match=said):
        Address.parse(text)


@pytest.mark.parametrize(
    "text", ["mqtt://user:hunter2@host:99999", "mqt://user:hunter2@host", "mqtt://u:hunter2#@h"]
)
def test_a_password_is_never_shown(text):
    with pytest.raises(BadInput) as caught:
        Address.parse(text)
    assert "hunter2" not in str(caught.value)
    good = Address.parse("mqtt://user:hunter2@host")
    assert "hunter2" not in repr(good) + str(good)


@settings(deadline=None)
@given(user=WORDS, password=WORDS)
def test_users_and_passwords_of_any_letters(user, password):
    from urllib.parse import quote

    parsed = Address.parse(f"mqtt://{quote(user, safe='')}:{quote(password, safe='')}@host")
    assert (parsed.user, parsed.password) == (user, password)
    assert Address.parse(str(parsed)) == Address("mqtt", "host", 1883, user=user)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_this_machine(host):
    assert Address.parse(f"mqtt://{host}").loopback
    refuse_plain(Address.parse(f"mqtt://{host}"), insecure=False)


@pytest.mark.parametrize("host", ["10.0.0.5", "broker.local", "localhost.example.org", "0.0.0.0"])
def test_other_machines_are_reached_by_tls_only(host):
    plain = Address.parse(f"mqtt://user:secret@{host}")
    assert not plain.loopback
    with pytest.raises(BadInput, match=r"password read.*mqtts://.*--insecure"):
        refuse_plain(plain, insecure=False)
    refuse_plain(plain, insecure=True)
    refuse_plain(Address.parse(f"mqtts://{host}"), insecure=False)
    with pytest.raises(BadInput, match="Use wss://"):
        refuse_plain(Address.parse(f"ws://{host}"), insecure=False)
