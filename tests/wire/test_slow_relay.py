"""The slow relay: what it delays, keeps in order, stalls and resets."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from tests.wire.slow_relay import SlowRelay

DELAY = 0.03


@pytest.fixture
def relay():
    """Two links to a server that sends back what it hears."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        made = SlowRelay(server.getsockname(), ["127.0.0.1", "127.0.0.2"], delay=DELAY)
        stack.callback(made.close)
        yield made


def _serve(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            threading.Thread(target=_echo, args=(server.accept()[0],), daemon=True).start()


def _echo(end: socket.socket) -> None:
    with suppress(OSError), end:
        while data := end.recv(65536):
            end.sendall(data)


def connect(relay: SlowRelay, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, relay.port), 5)


def back(end: socket.socket, data: bytes) -> float:
    """Send, and hear all of it again; seconds."""
    began, came = time.monotonic(), b""
    sender = threading.Thread(target=end.sendall, args=(data,), daemon=True)
    sender.start()
    while len(came) < len(data):
        came += end.recv(1 << 20)
    assert came == data
    return time.monotonic() - began


def test_each_way_takes_the_delay(relay):
    with connect(relay) as end:
        took = min(back(end, b"x") for _ in range(5))
    assert 2 * DELAY <= took < 2 * DELAY + 0.05


def test_bytes_stay_in_order_whatever_the_jitter(relay):
    relay.jitter = DELAY
    with connect(relay) as end:
        back(end, bytes(range(256)) * 40_000)


def test_a_stall_holds_up_its_link_alone(relay):
    with connect(relay) as one, connect(relay, "127.0.0.2") as two:
        back(one, b"x"), back(two, b"x")
        relay.stall(0, 0.5)
        assert back(two, b"x") < 0.4
        assert back(one, b"x") > 0.3


def test_a_reset_ends_its_link_alone_and_new_ones_pass(relay):
    with connect(relay) as one, connect(relay, "127.0.0.2") as two:
        back(one, b"x"), back(two, b"x")
        relay.reset(0)
        with pytest.raises(ConnectionResetError):
            one.recv(1)
        back(two, b"x")
    with connect(relay) as end:
        back(end, b"x")


def test_the_end_of_a_connection_passes(relay):
    with connect(relay) as end:
        end.sendall(b"last words")
        end.shutdown(socket.SHUT_WR)
        came = b""
        while data := end.recv(100):
            came += data
    assert came == b"last words"
